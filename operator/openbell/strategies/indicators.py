"""TA-Lib's functions as they are for arrays.

Its public ones look first whether they were given a table of some library, which takes longer than a short average
does; an evaluation has nothing but arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import talib

from openbell.domain.bars import Floats


@cache
def indicator(name: str) -> Callable[..., Floats]:
    """A function of TA-Lib by its name; resolved at the first use, for not everybody who loads a strategy evaluates."""
    public = getattr(talib, name)
    plain: Callable[..., Floats] = getattr(public, "__wrapped__", public)
    return plain
