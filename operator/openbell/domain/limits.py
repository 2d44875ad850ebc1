"""Words that resources and rules share: what a lock holds back, the kind of account, the rule of day trading."""

from __future__ import annotations

from enum import StrEnum


class LockScope(StrEnum):
    """What a lock holds back: every opening, those of one symbol, or those of one strategy."""

    GLOBAL = "Global"
    SYMBOL = "Symbol"
    STRATEGY = "Strategy"


class AccountKind(StrEnum):
    """Cash: everything is paid in full. Margin: the broker lends, and settlement limits nothing here."""

    CASH = "Cash"
    MARGIN = "Margin"


class Regime(StrEnum):
    """The rule of day trading. Auto follows the broker's own figures, else the stricter rule. None is no rule."""

    AUTO = "Auto"
    LEGACY_PDT = "LegacyPDT"
    INTRADAY_MARGIN = "IntradayMargin"
    NONE = "None"
