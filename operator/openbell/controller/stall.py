"""Why a valid scheduler has no runner until a person acts: a pure answer."""

from __future__ import annotations

from openbell.controller.accounts import Account, Name
from openbell.controller.status import Cause
from openbell.resources.scheduler import SchedulerSpec
from openbell.resources.surroundings import BrokerType, Mode

NO_ADAPTER = "this version of Openbell has no adapter for spec.broker.type IBKR"


def stall_of(spec: SchedulerSpec, account: Account | None, holder: Name | None, *, allow_live: bool) -> Cause | None:
    """None when nothing stands in the way; `holder` is the scheduler that has named the same account before.

    Live needs two statements, the scheduler's own and the chart's, and a broker that is there.
    """
    if account is not None and holder is not None:
        where = f"{account[1] or 'the only account'} at {account[0]}"
        return Cause("AccountInUse", f"the account {where} belongs to {holder[0]}/{holder[1]}, which named it first")
    if spec.mode is Mode.LIVE and not allow_live:
        needs = "spec.mode Live also needs the chart's allowLiveTrading, which is false"
        return Cause("LiveNotAllowed", f"{needs}; besides, {NO_ADAPTER}")
    if spec.broker.type is BrokerType.IBKR:
        live = "; the chart's allowLiveTrading is true, so spec.mode Live waits for it alone"
        return Cause("BrokerNotAvailable", NO_ADAPTER + (live if spec.mode is Mode.LIVE else ""))
    return None
