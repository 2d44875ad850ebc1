"""The gate: the last thing read before an order's bytes leave, in the same synchronous step.

Everything that may stop an order is a plain attribute here, set synchronously by whoever learns of it, so that
nothing awaits between reading and sending. Entries and exits are answered apart: exits win (only the lease, a
scheduler stopped with its positions kept, and `pausePolicy.exits: Halt` hold them back).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from openbell.domain.orders import IntentKind
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState, safer


class Fence(Protocol):
    """Whether this process is the one that trades, and for how long it may believe so."""

    @property
    def epoch(self) -> int:
        """The number of this process's leadership; 0 before the first."""
        ...

    def holds(self) -> bool:
        """Whether the lease is ours and its deadline (CLOCK_BOOTTIME) lies ahead."""
        ...


@dataclass(slots=True)
class Gate:
    """Answers whether an intent may be sent now. All fields are set from the event loop's thread alone."""

    fence: Fence
    asked: TradingState = TradingState.STOPPED
    held: TradingState = TradingState.RUNNING  # by a REST pause or stop, until the resource says the same
    strategies: Mapping[str, TradingState] = field(default_factory=dict)
    exits_halted_while_paused: bool = False
    killed: bool = False  # the kill switch: reduce-only, whatever the state
    flattening: bool = False
    broker_connected: bool = False
    broker_required: bool = True
    broker_released: bool = False  # by REST: a person wants no connection to the broker
    in_sync: bool = False
    journal_open: bool = True
    journal_lost: bool = False
    state_is_stale: bool = False
    live_refused: bool = False
    closing: bool = False  # SIGTERM: nothing new is sent

    def lose_connection(self) -> None:
        """The broker is gone: until the comparison hears of the next connection, nothing is opened on it."""
        self.broker_connected = self.in_sync = False

    @property
    def state(self) -> TradingState:
        """The effective state of the scheduler: the safer of what is asked and what is held."""
        return safer(self.asked, self.held)

    def state_of(self, strategy: str) -> TradingState:
        """The safer of the scheduler's state and the strategy's; a strategy that is gone is stopped."""
        return safer(self.state, self.strategies.get(strategy, TradingState.STOPPED))

    def entry_blocked(self, strategy: str | None = None) -> Reason | None:
        """Why no entry (of this strategy) may be sent now; None where it may."""
        for blocked, reason in (
            (not self.fence.holds() or self.closing, Reason.NOT_LEADING),
            (self.state is TradingState.STOPPED, Reason.STOPPED),
            (self.state is TradingState.PAUSED, Reason.PAUSED),
            (self.killed, Reason.KILL_SWITCH),
            (self.journal_lost, Reason.JOURNAL_LOST),
            (not self.journal_open, Reason.JOURNAL_FAILED),
            (self.state_is_stale, Reason.STALE_STATE),
            (self.live_refused, Reason.LIVE_NOT_ALLOWED),
            (self.broker_released, Reason.BROKER_DISCONNECTED),
            (self.broker_required and not self.broker_connected, Reason.BROKER_DISCONNECTED),
            (not self.in_sync, Reason.RECONCILING),
        ):
            if blocked:
                return reason
        if strategy is not None and self.state_of(strategy) is not TradingState.RUNNING:
            return Reason.STRATEGY_PAUSED
        return None

    def exit_blocked(self) -> Reason | None:
        """Why no exit may be sent now; None where it may. Pause, risk, locks and a full disk are no reasons."""
        if not self.fence.holds():
            return Reason.NOT_LEADING
        if self.flattening:
            return None
        if self.state is TradingState.STOPPED:
            return Reason.STOPPED
        if self.state is TradingState.PAUSED and self.exits_halted_while_paused:
            return Reason.PAUSED
        return None

    def blocked(self, kind: IntentKind, strategy: str) -> Reason | None:
        """Why an intent of this kind may not be sent now; None where it may."""
        return self.entry_blocked(strategy) if kind is IntentKind.ENTRY else self.exit_blocked()
