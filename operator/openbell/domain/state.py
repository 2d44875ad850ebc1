"""The three states a person can ask for; the effective one is the safer of scheduler and strategy."""

from __future__ import annotations

from enum import StrEnum


class TradingState(StrEnum):
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPED = "Stopped"


_SAFETY = {TradingState.RUNNING: 0, TradingState.PAUSED: 1, TradingState.STOPPED: 2}


def asked_state(enabled: bool, paused: bool) -> TradingState:
    """What `enabled` and `paused` of one resource ask for; stopping outweighs pausing."""
    if not enabled:
        return TradingState.STOPPED
    return TradingState.PAUSED if paused else TradingState.RUNNING


def safer(*states: TradingState) -> TradingState:
    """The safest of several states: Stopped over Paused over Running."""
    return max(states, key=lambda state: _SAFETY[state])
