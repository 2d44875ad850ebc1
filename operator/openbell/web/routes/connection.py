"""The connection to the broker's gateway: taken up and given up by people."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from openbell.web.auth import require_write
from openbell.web.deps import View, Wait, errors
from openbell.web.schemas.connection import Connection
from openbell.web.values import ConnectionResult

router = APIRouter(
    prefix="/api/trading/ibkr",
    tags=["trading"],
    dependencies=[Depends(require_write)],
    responses=errors(401, 403, 409, 413, 422, 503),
)


def _connection(result: ConnectionResult) -> Connection:
    return Connection(ibkr_connected=result.connected, reason=result.reason, message=result.message)


@router.post("/connect", status_code=202)
async def connect(view: View, query: Wait) -> Connection:
    """Connect to the gateway again after a disconnect. While it is connected, nothing changes."""
    return _connection(await view.connect_broker(query.wait))


@router.post("/disconnect", status_code=202)
async def disconnect(view: View) -> Connection:
    """Hang up and stay disconnected, also across restarts, until a connect: no entry is made and no exit can go out.

    What rests at the broker stays there.
    """
    return _connection(await view.disconnect_broker())
