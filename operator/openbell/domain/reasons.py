"""Every why and why-not of a decision, one closed enum. The text is what people read."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was or was not done. The value is the stable name; `text` explains it."""

    # done
    ORDERED = "ORDERED"
    SHADOW = "SHADOW"
    # not leading or not running
    NOT_LEADING = "NOT_LEADING"
    STOPPED = "STOPPED"
    PAUSED = "PAUSED"
    STRATEGY_PAUSED = "STRATEGY_PAUSED"
    STRATEGY_FAILED = "STRATEGY_FAILED"
    STALE_STATE = "STALE_STATE"
    RECONCILING = "RECONCILING"
    BROKER_DISCONNECTED = "BROKER_DISCONNECTED"
    MARKET_CLOSED = "MARKET_CLOSED"
    JOURNAL_FAILED = "JOURNAL_FAILED"
    JOURNAL_LOST = "JOURNAL_LOST"
    LIVE_NOT_ALLOWED = "LIVE_NOT_ALLOWED"
    KILL_SWITCH = "KILL_SWITCH"
    # data
    NOT_LOADED = "NOT_LOADED"
    WARMUP = "WARMUP"
    STALE_DATA = "STALE_DATA"
    NO_SIGNAL = "NO_SIGNAL"
    TICK_SKIPPED = "TICK_SKIPPED"
    # signal
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    INVALID_SIGNAL = "INVALID_SIGNAL"
    EXPIRED = "EXPIRED"
    SUPERSEDED = "SUPERSEDED"
    QUEUE_FULL = "QUEUE_FULL"
    ALREADY_DECIDED = "ALREADY_DECIDED"
    CONFLICT = "CONFLICT"
    OPPOSITE_POSITION = "OPPOSITE_POSITION"
    NOT_HELD = "NOT_HELD"
    ALREADY_HELD = "ALREADY_HELD"
    # risk
    MAX_CONCURRENT_TRADES = "MAX_CONCURRENT_TRADES"
    STRATEGY_MAX_TRADES = "STRATEGY_MAX_TRADES"
    MAX_ORDER_NOTIONAL = "MAX_ORDER_NOTIONAL"
    BUYING_POWER = "BUYING_POWER"
    DAILY_LOSS = "DAILY_LOSS"
    ORDER_RATE_MINUTE = "ORDER_RATE_MINUTE"
    ORDER_RATE_DAY = "ORDER_RATE_DAY"
    SIZE_ZERO = "SIZE_ZERO"
    MAX_SYMBOL_EXPOSURE = "MAX_SYMBOL_EXPOSURE"
    MAX_GROSS_EXPOSURE = "MAX_GROSS_EXPOSURE"
    DRAWDOWN = "DRAWDOWN"
    DATA_AGE = "DATA_AGE"
    SYMBOL_COOLDOWN = "SYMBOL_COOLDOWN"
    OPPOSITE_ORDER = "OPPOSITE_ORDER"
    MAX_ROUND_TRIPS = "MAX_ROUND_TRIPS"
    STRATEGY_ORDER_RATE = "STRATEGY_ORDER_RATE"
    # locks
    LOCKED = "LOCKED"
    STOP_LOSS_GUARD = "STOP_LOSS_GUARD"
    DRAWDOWN_GUARD = "DRAWDOWN_GUARD"
    LOW_PROFIT = "LOW_PROFIT"
    COOLDOWN = "COOLDOWN"
    # rules of the account
    CASH_ACCOUNT_SHORT = "CASH_ACCOUNT_SHORT"
    SETTLED_CASH = "SETTLED_CASH"
    SETTLED_CASH_ONLY = "SETTLED_CASH_ONLY"
    DAY_TRADE_LIMIT = "DAY_TRADE_LIMIT"
    MARGIN_MINIMUM_EQUITY = "MARGIN_MINIMUM_EQUITY"
    INTRADAY_MARGIN = "INTRADAY_MARGIN"
    INTRADAY_RESTRICTED = "INTRADAY_RESTRICTED"
    # the broker
    BROKER_REJECTED = "BROKER_REJECTED"

    @property
    def text(self) -> str:
        return TEXTS[self]

    @property
    def is_passing(self) -> bool:
        """Whether it passes by itself, so that a signal that is still alive is decided again at the next evaluation.

        What a person must change or has asked for (a pause, a stop, a lock, a limit of the day) is none: whoever
        resumes does not expect the opinions of before.
        """
        return self in PASSING


PASSING: frozenset[Reason] = frozenset(
    {
        Reason.RECONCILING,
        Reason.BROKER_DISCONNECTED,
        Reason.MAX_CONCURRENT_TRADES,
        Reason.STRATEGY_MAX_TRADES,
        Reason.BUYING_POWER,
        Reason.ORDER_RATE_MINUTE,
    }
)

TEXTS: dict[Reason, str] = {
    Reason.ORDERED: "an order was sent",
    Reason.SHADOW: "the strategy is in Shadow: decided, not ordered",
    Reason.NOT_LEADING: "this runner does not hold the lease",
    Reason.STOPPED: "the scheduler is stopped",
    Reason.PAUSED: "the scheduler is paused",
    Reason.STRATEGY_PAUSED: "the strategy is paused or off",
    Reason.STRATEGY_FAILED: "the strategy failed several times in a row",
    Reason.STALE_STATE: "the resource cannot be read, so entries wait",
    Reason.RECONCILING: "orders and positions are being compared with the broker",
    Reason.BROKER_DISCONNECTED: "the broker is not connected",
    Reason.MARKET_CLOSED: "the market is closed",
    Reason.JOURNAL_FAILED: "the journal cannot be written, so entries wait",
    Reason.JOURNAL_LOST: "the journal is older than the scheduler's record; a person must confirm",
    Reason.LIVE_NOT_ALLOWED: "live trading is not allowed for this scheduler",
    Reason.KILL_SWITCH: "the kill switch is on: positions are only reduced",
    Reason.NOT_LOADED: "the strategy's own class is not loaded",
    Reason.WARMUP: "not enough bars yet for the strategy",
    Reason.STALE_DATA: "the newest bar is too old",
    Reason.NO_SIGNAL: "the strategy had nothing to say",
    Reason.TICK_SKIPPED: "the tick came too late, or while the one before was still being evaluated",
    Reason.LOW_CONFIDENCE: "the confidence is below the minimum",
    Reason.INVALID_SIGNAL: "the signal is not well formed",
    Reason.EXPIRED: "the signal's lifetime is over",
    Reason.SUPERSEDED: "it waited until a newer signal, or a change of its resource, took its place",
    Reason.QUEUE_FULL: "too many signals of higher rank are waiting",
    Reason.ALREADY_DECIDED: "this strategy, symbol and bar had its entry",
    Reason.CONFLICT: "a higher-ranked signal of this tick says the opposite",
    Reason.OPPOSITE_POSITION: "another strategy holds the other side",
    Reason.NOT_HELD: "there is nothing to sell, and short selling is not allowed",
    Reason.ALREADY_HELD: "the strategy already holds this symbol",
    Reason.MAX_CONCURRENT_TRADES: "the number of open trades is at its limit",
    Reason.STRATEGY_MAX_TRADES: "the strategy's number of open trades is at its limit",
    Reason.MAX_ORDER_NOTIONAL: "the order would exceed the notional limit",
    Reason.BUYING_POWER: "the order needs more than the buying power left",
    Reason.DAILY_LOSS: "today's loss is at its limit",
    Reason.ORDER_RATE_MINUTE: "orders of the last minute are at their limit",
    Reason.ORDER_RATE_DAY: "orders of the day are at their limit",
    Reason.SIZE_ZERO: "the size comes to less than one share",
    Reason.MAX_SYMBOL_EXPOSURE: "the symbol's share of equity would pass its limit",
    Reason.MAX_GROSS_EXPOSURE: "all positions together would pass their limit",
    Reason.DRAWDOWN: "equity has fallen too far below its highest",
    Reason.DATA_AGE: "the symbol's price is older than allowed",
    Reason.SYMBOL_COOLDOWN: "the symbol was left too short a time ago",
    Reason.OPPOSITE_ORDER: "the last order the other way is too recent",
    Reason.MAX_ROUND_TRIPS: "the day's round trips are at their limit",
    Reason.STRATEGY_ORDER_RATE: "the strategy's orders of the last minute are at their limit",
    Reason.LOCKED: "a person has locked openings",
    Reason.STOP_LOSS_GUARD: "locked after too many stops",
    Reason.DRAWDOWN_GUARD: "locked after too deep a drawdown of closed trades",
    Reason.LOW_PROFIT: "locked after too little profit",
    Reason.COOLDOWN: "locked for a while after an exit",
    Reason.CASH_ACCOUNT_SHORT: "a cash account cannot sell short",
    Reason.SETTLED_CASH: "the order needs more than the settled cash that is free",
    Reason.SETTLED_CASH_ONLY: "settlement violations allow no more buys with unsettled money",
    Reason.DAY_TRADE_LIMIT: "the opening could become a day trade that the account may not make",
    Reason.MARGIN_MINIMUM_EQUITY: "below the least equity of a margin account nothing may be bought on credit",
    Reason.INTRADAY_MARGIN: "too little excess liquidity would be left",
    Reason.INTRADAY_RESTRICTED: "an intraday margin deficit was left unsatisfied",
    Reason.BROKER_REJECTED: "the broker refused the order",
}


class ExitReason(StrEnum):
    """Why a position was left."""

    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    PARTIAL_TARGET = "PARTIAL_TARGET"
    TRAILING_STOP = "TRAILING_STOP"
    MAX_HOLDING = "MAX_HOLDING"
    SESSION_CLOSE = "SESSION_CLOSE"
    SIGNAL = "SIGNAL"
    MANUAL = "MANUAL"
    FLATTEN = "FLATTEN"
    BROKER = "BROKER"
    UNRECORDED = "UNRECORDED"

    @property
    def text(self) -> str:
        return EXIT_TEXTS[self]


EXIT_TEXTS: dict[ExitReason, str] = {
    ExitReason.STOP_LOSS: "the loss reached the stop",
    ExitReason.TAKE_PROFIT: "the profit reached the target",
    ExitReason.PARTIAL_TARGET: "the profit reached a step of exits.scaleOut, and a part was left",
    ExitReason.TRAILING_STOP: "the price fell back from its best by the trailing distance",
    ExitReason.MAX_HOLDING: "the position was held for its longest time",
    ExitReason.SESSION_CLOSE: "the session is about to close",
    ExitReason.SIGNAL: "the strategy's signal closed or reduced it",
    ExitReason.MANUAL: "a person asked for it",
    ExitReason.FLATTEN: "the scheduler was stopped with its positions flattened",
    ExitReason.BROKER: "the broker reduced the position without an order of ours",
    ExitReason.UNRECORDED: "an order of ours, sent while the journal could not be written, so that its reason is lost",
}


class HoldReason(StrEnum):
    """Why a position was not left when it was looked at."""

    HOLD = "HOLD"
    NO_PRICE = "NO_PRICE"
    LEAVING = "LEAVING"
    GONE = "GONE"

    @property
    def text(self) -> str:
        return HOLD_TEXTS[self]


HOLD_TEXTS: dict[HoldReason, str] = {
    HoldReason.HOLD: "no rule to leave it was reached",
    HoldReason.NO_PRICE: "there is no usable price, so the price rules wait",
    HoldReason.LEAVING: "an exit of it is under way",
    HoldReason.GONE: "the broker holds none of it",
}


def reason_text(name: str) -> str:
    """The words of any reason; the name itself for one that this version does not know."""
    for texts in (TEXTS, EXIT_TEXTS, HOLD_TEXTS):
        for reason, text in texts.items():
            if reason.value == name:
                return text
    return name
