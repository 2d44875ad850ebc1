"""The scheduler: its status, its statistics, and start, stop, pause, resume."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from openbell.web.auth import require_write
from openbell.web.deps import View, Wait, errors
from openbell.web.schemas.scheduler import Lifecycle, SchedulerStats, SchedulerStatus, scheduler_stats, scheduler_status
from openbell.web.values import LifecycleResult

router = APIRouter(prefix="/api/scheduler", tags=["scheduler"])
writes = APIRouter(
    dependencies=[Depends(require_write)],
    responses=errors(401, 403, 404, 409, 413, 422, 503),
)


def _lifecycle(result: LifecycleResult) -> Lifecycle:
    return Lifecycle(generation=result.generation, acknowledged=result.acknowledged)


@router.get("/status")
async def status(view: View) -> SchedulerStatus:
    """State, settings and counters now."""
    return scheduler_status(view.status())


@router.get("/stats")
async def stats(view: View) -> SchedulerStats:
    """Counters in total, per reason and per strategy."""
    return scheduler_stats(view.status(), view.statistics())


@writes.post("/start", status_code=202)
async def start(view: View, query: Wait) -> Lifecycle:
    """Set `enabled` to true."""
    return _lifecycle(await view.start(query.wait))


@writes.post("/stop", status_code=202)
async def stop(view: View, query: Wait) -> Lifecycle:
    """Set `enabled` to false: no entries and no exits; what is open is kept or flattened by `stopPolicy`."""
    return _lifecycle(await view.stop(query.wait))


@writes.post("/pause", status_code=202)
async def pause(view: View, query: Wait) -> Lifecycle:
    """Set `paused` to true: evaluation and exits go on, entries do not."""
    return _lifecycle(await view.pause(query.wait))


@writes.post("/resume", status_code=202)
async def resume(view: View, query: Wait) -> Lifecycle:
    """Set `paused` to false."""
    return _lifecycle(await view.resume(query.wait))


router.include_router(writes)
