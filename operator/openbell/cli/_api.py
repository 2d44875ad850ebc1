"""A runner's REST API, as commands ask it: whatever goes wrong is one sentence."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from openbell.domain.errors import ManifestError

DEFAULT_URL = "http://127.0.0.1:8021"
TOKEN_VARIABLE = "OPENBELL_TOKEN"  # noqa: S105 - the variable's name
TIMEOUT_SECONDS = 10.0


class RunnerApi:
    """Asks the runner at `url`; the token of OPENBELL_TOKEN goes along with what changes something.

    Raises ManifestError for an address that is none, for a runner that does not answer, and for one that refuses.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ManifestError(f"--url is {url!r}; it must begin with http:// or https://")
        self._url = url.rstrip("/")

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """What is read at a path, decoded."""
        return self._ask(urllib.request.Request(f"{self._url}{path}?{urllib.parse.urlencode(query or {})}"))  # noqa: S310 - http(s) alone

    def delete(self, path: str) -> Any:
        """Delete with the token, where there is one; the answer, decoded."""
        return self._write(path, "DELETE")

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Post with the token, where there is one; the answer, decoded."""
        return self._write(path, "POST", json.dumps(body).encode())

    def _write(self, path: str, method: str, body: bytes | None = None) -> Any:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        request = urllib.request.Request(f"{self._url}{path}", body, method=method)  # noqa: S310 - http(s) alone
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            return self._ask(request)
        except TokenRefusedError as error:
            wrong = (
                f"{TOKEN_VARIABLE} is not the token of" if token else f"{TOKEN_VARIABLE} is not set; it is needed by"
            )
            raise ManifestError(f"{wrong} the runner at {self._url}") from error

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - http(s) alone
                return json.load(answer)
        except urllib.error.HTTPError as error:
            kind = TokenRefusedError if error.code == 401 else ManifestError
            raise kind(f"{self._url} answers {error.code}: {_message(error)}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ManifestError(f"{self._url} does not answer as a runner does: {reason}") from error


class TokenRefusedError(ManifestError):
    """Raised inside `RunnerApi` where the token is missing or another's; a person is told in other words."""


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)
