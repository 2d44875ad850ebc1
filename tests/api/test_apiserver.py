"""The fixture itself: what other tests here rely on."""

from __future__ import annotations

from pathlib import Path

from apiserver import ApiServer, wait_until


def test_a_service_account_may_do_nothing_until_a_role_says_so(api_server: ApiServer, namespace: str) -> None:
    path = f"/apis/openbell.dev/v1alpha1/namespaces/{namespace}/tradingschedulers"
    token = api_server.token(namespace, "somebody")
    assert api_server.request("GET", path, token=token).status == 403
    api_server.kubectl("create", "role", "reader", "-n", namespace, "--verb=list", "--resource=tradingschedulers")
    api_server.kubectl(
        "create", "rolebinding", "reader", "-n", namespace, "--role=reader", f"--serviceaccount={namespace}:somebody"
    )
    assert wait_until(lambda: api_server.request("GET", path, token=token).status == 200)


def test_a_kubeconfig_carries_the_credential_it_was_made_for(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = api_server.kubeconfig_for(api_server.token(namespace, "somebody"), tmp_path / "kubeconfig")
    said = api_server.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=kubeconfig)
    assert said.stdout == f"system:serviceaccount:{namespace}:somebody"
