"""Who may write, and from where a browser may speak to us."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from openbell.domain.errors import OpenbellError

LOCAL_NAMES = frozenset({"localhost"})


class UnauthorizedError(OpenbellError):
    """A write without the right token. Answered with 401."""


class ForbiddenError(OpenbellError):
    """A request that a foreign web page made through a browser. Answered with 403."""


def _host_name(netloc: str) -> str:
    """The host of `host[:port]` or `[v6][:port]`, lower case, "" when it is not one."""
    try:
        return (urlsplit("//" + netloc).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """Checks requests. With a token, a write must carry it; without one, only names that cannot be rebound by a
    foreign DNS are answered: IP addresses, localhost and `allowed_hosts`. A browser's Origin must be our own."""

    def __init__(self, token: str | None, allowed_hosts: Iterable[str] = ()) -> None:
        if token == "":
            raise ValueError("the API token must not be empty; None means that none is asked for")
        self._token = token.encode() if token is not None else None
        self._allowed = LOCAL_NAMES | {host.lower().rstrip(".") for host in allowed_hosts}

    @property
    def needs_token(self) -> bool:
        return self._token is not None

    def check_origin(self, headers: Headers) -> None:
        """Refuse what a page of another site asks through a browser. Raises ForbiddenError."""
        host = headers.get("host", "")
        if self._token is None:
            name = _host_name(host)
            if not (_is_address(name) or name in self._allowed):
                raise ForbiddenError(
                    f"Host {host!r} is not allowed without a token: use an IP address or one of "
                    f"{', '.join(sorted(self._allowed))}."
                )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise ForbiddenError(f"Origin {origin!r} is not allowed: only this server's own page may ask this.")

    def check_write(self, headers: Headers, credentials: HTTPAuthorizationCredentials | None) -> None:
        """Whether this request may change something. Raises UnauthorizedError or ForbiddenError."""
        self.check_origin(headers)
        if self._token is None:
            return
        if credentials is None:
            raise UnauthorizedError("Header Authorization is missing: this call needs 'Authorization: Bearer <token>'.")
        # Compared in constant time, as bytes: a token may be guessed by nobody who can measure.
        if not hmac.compare_digest(credentials.credentials.encode(), self._token):
            raise UnauthorizedError("The token in header Authorization is not this scheduler's.")


_bearer = HTTPBearer(auto_error=False, description="The token of the Secret <scheduler>-api-token.")


def require_write(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Dependency of every route that writes."""
    guard: Guard = request.app.state.guard
    guard.check_write(request.headers, credentials)
