"""Locks: what holds openings back, made and lifted by people too."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from openbell.domain.limits import LockScope
from openbell.web.auth import require_write
from openbell.web.deps import View, errors
from openbell.web.schemas.locks import Lock, LockAnswer, LockList
from openbell.web.values import LockRequest

MAX_SECONDS = 31_536_000

router = APIRouter(prefix="/api/locks", tags=["locks"])


class AddLock(BaseModel):
    """A lock to make."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"scope": "Symbol", "subject": "AAPL", "seconds": 3600, "detail": "earnings"}]},
    )

    scope: LockScope = LockScope.GLOBAL
    subject: Annotated[
        str, Field(max_length=63, pattern=r"^[A-Za-z0-9.-]*$", description="Symbol or strategy; empty for Global.")
    ] = ""
    seconds: Annotated[
        int | None,
        Field(ge=1, le=MAX_SECONDS, strict=True, description="How long it lasts; null = until it is lifted."),
    ] = None
    detail: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$", description="Why.")]

    @model_validator(mode="after")
    def _subject_fits_scope(self) -> Self:
        if (self.scope is LockScope.GLOBAL) != (self.subject == ""):
            raise ValueError("subject names the symbol or strategy of its scope, and is empty for Global")
        return self


@router.get("")
async def locks(view: View) -> LockList:
    """Locks that hold openings back now, with why, until when and by whom."""
    return LockList(locks=[Lock.model_validate(each) for each in view.locks()])


@router.post(
    "",
    status_code=201,
    dependencies=[Depends(require_write)],
    responses=errors(401, 403, 413, 422, 503),
)
async def add_lock(view: View, body: AddLock) -> LockAnswer:
    """Hold openings back: all of them, or those of one symbol or strategy."""
    made = await view.add_lock(LockRequest(body.scope, body.subject, body.detail, body.seconds))
    return LockAnswer(lock=Lock.model_validate(made))


@router.delete(
    "/{lock_id}",
    dependencies=[Depends(require_write)],
    responses=errors(401, 403, 404, 413, 422, 503),
)
async def lift_lock(
    view: View, lock_id: Annotated[str, Path(min_length=1, max_length=32, pattern=r"^[a-z0-9]+$")]
) -> LockAnswer:
    """Lift a lock. What had made it does not make it again; a drawdown is measured anew from now on."""
    return LockAnswer(lock=Lock.model_validate(await view.lift_lock(lock_id)))
