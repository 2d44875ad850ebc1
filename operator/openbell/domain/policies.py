"""A position's exit policy as canonical JSON, so that an intent and the journal can carry it across restarts."""

from __future__ import annotations

import json
import math
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from openbell.domain.errors import OpenbellError
from openbell.domain.positions import Escalation, ExitPolicy, ScaleOut, TrailingStop


class ExitPolicyError(OpenbellError):
    """A stored exit policy cannot be understood: it was written by another version, or damaged."""


@lru_cache(maxsize=1024)
def encode_policy(policy: ExitPolicy) -> str:
    """The one text of a policy: equal policies give equal texts."""
    trailing, escalation = policy.trailing, policy.escalation
    return json.dumps(
        {
            "stopLoss": policy.stop_loss,
            "takeProfit": policy.take_profit,
            "trailing": trailing and {"activation": trailing.activation, "distance": trailing.distance},
            "maxHoldingSeconds": policy.max_holding_seconds,
            "flatBeforeCloseSeconds": policy.flat_before_close_seconds,
            "scaleOut": [{"profit": rung.profit, "fraction": rung.fraction} for rung in policy.scale_out],
            "escalation": escalation
            and {"limitSeconds": escalation.limit_seconds, "limitOffsetBps": escalation.limit_offset_bps},
            "brokerSide": policy.broker_side,
            **({} if policy.stop_price is None else {"stopPrice": str(policy.stop_price)}),
        },
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )


def decode_policy(text: str) -> ExitPolicy:
    """The policy of a text made by `encode_policy`, of this version or one before. Raises ExitPolicyError."""
    try:
        stored = json.loads(text)
        trailing, escalation = stored["trailing"], stored.get("escalation")
        return ExitPolicy(
            stop_loss=_ratio(stored["stopLoss"]),
            take_profit=_ratio(stored["takeProfit"]),
            trailing=trailing and TrailingStop(_number(trailing["activation"]), _number(trailing["distance"])),
            max_holding_seconds=int(stored["maxHoldingSeconds"]),
            flat_before_close_seconds=int(stored["flatBeforeCloseSeconds"]),
            scale_out=tuple(
                ScaleOut(_number(rung["profit"]), _number(rung["fraction"])) for rung in stored.get("scaleOut", ())
            ),
            escalation=escalation
            and Escalation(int(escalation["limitSeconds"]), _number(escalation["limitOffsetBps"])),
            broker_side=bool(stored.get("brokerSide", False)),
            stop_price=_price(stored.get("stopPrice")),
        )
    except (ValueError, TypeError, KeyError, InvalidOperation) as error:
        raise ExitPolicyError(f"the exit policy {text!r} is not one that this version writes ({error!r})") from error


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _price(value: object) -> Decimal | None:
    if value is None:
        return None
    found = Decimal(value) if isinstance(value, str) else None
    if found is None or not found.is_finite():
        raise ValueError(f"{value!r} is not a price")
    return found


def _ratio(value: object) -> float | None:
    return None if value is None else _number(value)
