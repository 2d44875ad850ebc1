"""One real API server for all tests below, with our CRDs, and a namespace for each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from apiserver import ApiServer, install_definitions, serve


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """kube-apiserver and etcd on 127.0.0.1 with RBAC and our CRDs. See `apiserver.ApiServer` for what it can do."""
    with serve(tmp_path_factory.mktemp("api-server")) as server:
        install_definitions(server)
        yield server


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """The name of a fresh namespace. It goes with the server: nothing here would finish its deletion."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    answer = api_server.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert answer.status == 201, answer.message
    return name
