"""What a client can do wrong before anything is decided."""

from __future__ import annotations

from openbell.domain.errors import OpenbellError


class FrameError(OpenbellError):
    """The bytes are not the protocol: what follows cannot be read either, so the connection is closed."""


class FieldError(OpenbellError):
    """One message cannot be read. It is answered with error 320; the connection goes on."""

    def __init__(self, message: str, request_id: int = -1) -> None:
        super().__init__(message)
        self.request_id = request_id
