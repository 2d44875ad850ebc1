"""One strategy as it runs: what its resource asks for, understood, and where its code is from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openbell.resources.effective import StrategySettings
from openbell.resources.strategy import StrategySpec, StrategyType
from openbell.strategies.api import Strategy, StrategyParams


@dataclass(frozen=True, slots=True)
class Code:
    """A class: of a module's text, or (without text) of a module in the image. `where` names the place for people."""

    where: str
    class_name: str
    text: str | None = None

    @property
    def digest(self) -> str:
        """Changes with the class's place and text."""
        content = "\\0".join((self.where, self.class_name, self.text or ""))
        return hashlib.sha256(content.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a class is not run until a person acts: a word and a sentence."""

    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class StrategyEntry:
    """One strategy as it runs. `problem` says why it does not, or why older parameters are in force.

    A custom one has its `code`, which a worker runs, or the `refusal` of a source that is not there; `fallback` are the
    parameters with which it last ran, for when its class refuses the new ones.
    """

    name: str
    generation: int
    spec: StrategySpec
    settings: StrategySettings
    strategy: Strategy[Any]
    parameters: StrategyParams
    parameters_hash: str
    problem: str = ""
    code: Code | None = None
    refusal: Refusal | None = None
    fallback: Mapping[str, Any] | None = None

    @property
    def is_custom(self) -> bool:
        return self.spec.type is StrategyType.CUSTOM
