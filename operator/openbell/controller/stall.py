"""Why a valid scheduler has no runner until a person acts: a pure answer."""

from __future__ import annotations

from openbell.controller.accounts import Account, Name
from openbell.controller.status import Cause
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.surroundings import Mode


def stall_of(spec: SchedulerSpec, account: Account | None, holder: Name | None, *, allow_live: bool) -> Cause | None:
    """None when nothing stands in the way; `holder` is the scheduler that has named the same account before.

    Live needs two statements, the scheduler's own, which names the account, and the chart's. Whether the gateway has
    that account is for the runner to see, and whether it answers: these are conditions.
    """
    if account is not None and holder is not None:
        where = f"{account[1] or 'the only account'} at {account[0]}"
        return Cause("AccountInUse", f"the account {where} belongs to {holder[0]}/{holder[1]}, which named it first")
    if spec.mode is Mode.LIVE and not allow_live:
        return Cause("LiveNotAllowed", "spec.mode Live also needs the chart's allowLiveTrading, which is false")
    if spec.mode is Mode.LIVE and account is not None and not account[1]:
        return Cause("LiveNotAllowed", "spec.mode Live also needs spec.broker.ibkr.account, which is empty")
    return None
