"""Checking a strategy's parameters. The operator evaluates nothing, so TA-Lib (30 MB) is only loaded if it is used."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module until something of it is used. (importlib's LazyLoader loads at the second import.)"""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


sys.modules.setdefault("talib", _Deferred("talib"))

from openbell.strategies.loader import parameters_schema, validate_parameters  # noqa: E402 - after the deferral, or it would be in vain

__all__ = ["parameters_schema", "validate_parameters"]
