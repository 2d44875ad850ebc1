"""Strategies that people add by the API, as the manifests that make them."""

from __future__ import annotations

import re
from typing import Any

from openbell.resources import strategy as strategy_kind
from openbell.resources.common import API_VERSION
from openbell.resources.strategy import StrategyType
from openbell.strategies.loader import validate_parameters
from openbell.web.values import StrategyRequest


def strategy_manifest(request: StrategyRequest, scheduler: str, taken: set[str]) -> dict[str, Any]:
    """The Strategy that is asked for; where it has no name, one that is not `taken`.

    Raises ManifestError for parameters that a built-in type does not allow.
    """
    if request.type != StrategyType.CUSTOM.value:  # what its parameters may be, a custom class says when it is loaded
        validate_parameters(request.type, request.parameters)
    optional = {
        "barSeconds": request.bar_seconds,
        "evaluationIntervalSeconds": request.evaluation_interval,
        "minConfidence": request.min_confidence,
        "maxConcurrentTrades": request.max_concurrent_trades,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": strategy_kind.KIND,
        "metadata": {"name": request.name or _made_up_name(request, taken)},
        "spec": {
            "schedulerRef": {"name": scheduler},
            "enabled": request.enabled,
            "type": request.type,
            **({"source": dict(request.source)} if request.source is not None else {}),
            "parameters": dict(request.parameters),
            "symbols": list(request.symbols),
            **{key: value for key, value in optional.items() if value is not None},
        },
    }


def _made_up_name(request: StrategyRequest, taken: set[str]) -> str:
    """`momentum-aapl`, or with a number where that is taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", f"{request.type}-{request.symbols[0]}".lower()).strip("-")[:50]
    names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, len(taken) + 3))
    return next(name for name in names if name not in taken)
