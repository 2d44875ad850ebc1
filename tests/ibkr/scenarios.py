"""What happens in one scenario, by its seed: the gateway, a few lives of the runner, and what goes wrong meanwhile.

Pure: the same seed is always the same scenario.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openbell.journal.killpoints import JOURNAL_POINTS

Json = dict[str, Any]
DESK_POINTS = (
    "desk.before-commit",
    "desk.committed",
    "desk.sent",
    "desk.handed-over",
    "desk.fill-booked",
    "desk.cancel-sent",
    "desk.modify-sent",
    "comparison.answered",
    "comparison.applied",
)
SYMBOLS = ("AAPL", "MSFT", "NVDA", "IBM", "GOOGL", "AMZN", "META", "ORCL")
PATIENT = 0.1  # of the scenarios keep the product's own waiting times; the others have shorter ones (`hurry`)


@dataclass(frozen=True, slots=True)
class Life:
    """One life: what goes wrong in it, where it is killed at the latest, and what is done while nobody is there."""

    faults: tuple[Json, ...]
    kill_point: str  # name:n, or empty
    seconds: float  # since its first order, or where it is short since it was begun
    is_short: bool
    away: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole history of one account."""

    seed: int
    gateway: Json
    broker_side: bool
    is_patient: bool
    lives: tuple[Life, ...]


Make = Callable[[random.Random], Json]
FAULTS: dict[str, Make] = {
    "DropAcknowledgement": lambda r: {"nth": r.randint(1, 6)} if r.random() < 0.6 else {"every": r.randint(2, 5)},
    "Reject": lambda r: {"nth": r.randint(1, 8)} if r.random() < 0.7 else {"every": r.randint(3, 7)},
    "DisconnectBeforeOrder": lambda r: {"nth": r.randint(1, 8)},
    "DisconnectAfterOrder": lambda r: {"nth": r.randint(1, 8)},
    "FillWhileAway": lambda r: {"nth": r.randint(1, 8)},
    "RestartInOrder": lambda r: {"nth": r.randint(1, 8), "seconds": round(r.uniform(0, 1.2), 2)},
    "HalfOpen": lambda r: {"nth": r.randint(1, 8)},
    "LoseCancel": lambda r: {"every": r.randint(1, 3)},
    "Duplicate": lambda r: {"every": r.randint(1, 5)},
    "Reorder": lambda r: {"every": r.randint(2, 6)},
    "SlowAnswers": lambda r: {"nth": r.randint(1, 40), "seconds": round(r.uniform(0.2, 2.0), 2)},
    "RateExceeded": lambda r: {"nth": r.randint(1, 60)},
    "PacingViolation": lambda r: {"nth": r.randint(1, 10)},
    "ConnectivityLost": lambda r: {
        "afterSeconds": round(r.uniform(0.3, 4), 2),
        "seconds": round(r.uniform(0.1, 2), 2),
        "dataLost": r.random() < 0.5,
    },
    "Disconnect": lambda r: {"afterSeconds": round(r.uniform(0.3, 4), 2)},
    "Restart": lambda r: {"afterSeconds": round(r.uniform(0.3, 4), 2), "seconds": round(r.uniform(0, 1.2), 2)},
    "RollBackIds": lambda r: {"afterSeconds": round(r.uniform(0.3, 4), 2), "steps": r.randint(1, 8)},
}


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(seed)
    is_patient = rng.random() < PATIENT
    gateway: Json = {
        "seed": seed % 1_000_000 + 1,
        "startingCash": "100000",
        "volatility": 20,
        "pacing": False,  # by the hour: each life asks for the same bars again
        "cancelSeconds": rng.choice([0, 0, 0.1, 0.5]),
        "presetTif": rng.random() < 0.5,
    }
    if rng.random() < 0.5:
        gateway["depth"] = str(rng.choice([3, 7, 20]))
    lives = tuple(_life(rng, is_patient) for _ in range(rng.randint(2, 4)))
    return Scenario(seed, gateway, rng.random() < 0.8, is_patient, lives)


def _life(rng: random.Random, is_patient: bool) -> Life:
    kinds = rng.sample(sorted(FAULTS), rng.choice([0, 1, 1, 2, 2, 3]))
    point = ""
    if rng.random() < 0.6:
        # Where an order or a fill is on its way is where most can be lost.
        points = DESK_POINTS if rng.random() < 0.6 else JOURNAL_POINTS
        point = f"{rng.choice(points)}:{rng.choice((1, 1, 2, 3, 4))}"
    is_short = rng.random() < 0.1
    seconds = (
        rng.uniform(0.1, 1.2)
        if is_short
        else rng.uniform(0, 2.5)
        if point or rng.random() < 0.5
        else rng.uniform(0, 0.3)
    )
    if is_patient and not is_short:
        seconds *= 4
    faults = tuple({"kind": kind, **FAULTS[kind](rng)} for kind in kinds)
    return Life(faults, point, round(seconds, 2), is_short, tuple(_away(rng)))


def _away(rng: random.Random) -> list[Json]:
    done: list[Json] = []
    if rng.random() < 0.2:
        done.append({"do": "rollBackIds", "steps": rng.randint(1, 10)})
    if rng.random() < 0.2:
        done.append({"do": "restart"})
    if rng.random() < 0.3:  # what rests at the broker is filled with nobody there
        done += [{"do": "jump", "symbol": symbol, "by": rng.uniform(-0.01, 0.01)} for symbol in rng.sample(SYMBOLS, 3)]
    return done
