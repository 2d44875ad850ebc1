"""A process that writes a journal by a fixed script and says on its output what it was promised.

Run as `python journal_child.py FOLDER ROUNDS`. Each round commits three intents, acknowledges one, fills it in two
parts, closes it and counts; a line `<what> <number>` follows each operation that returned.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fakes.values import T0, make_fill, make_intent, make_position, make_trade, make_update
from openbell.domain.clock import SimulatedClock
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.domain.statistics import Counters, Statistics
from openbell.journal import Journal


def promised(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


async def work(journal: Journal, rounds: int) -> None:
    await journal.adopt_owner("u")
    promised("owner", 0)
    epoch = (await journal.identity()).epoch + 1
    await journal.begin_epoch(epoch)
    promised("epoch", epoch)
    done = (await journal.load()).statistics.total.evaluations_run
    for number in range(done, done + rounds):
        names = [f"{number}{letter}" for letter in "abc"]
        opened = f"p-{names[0]}"
        entry, other = (make_intent(name, epoch=epoch) for name in names[:2])
        leave = make_intent(
            names[2], epoch=epoch, kind=IntentKind.EXIT, side=Side.SELL, quantity=Decimal(10), position_id=opened
        )
        await journal.commit_intents([entry, other, leave])
        promised("intents", number)
        await journal.record_update(make_update(IntentState.WORKING, names[0]))
        promised("update", number)
        await journal.amend_intent(replace(other, exits="{}"))
        half = make_position(names[0], quantity=Decimal(5))
        await journal.record_fill(make_fill(f"x{number}-1", names[0], quantity=Decimal(5)), half, None)
        promised("half", number)
        await journal.record_fill(
            make_fill(f"x{number}-2", names[0], quantity=Decimal(5)), replace(half, quantity=Decimal(10)), None
        )
        promised("whole", number)
        await journal.save_positions([replace(half, best_price=Decimal(107), exit_sequence=1)])
        promised("saved", number)
        flat = replace(half, quantity=Decimal(0), best_price=Decimal(107), exit_sequence=1)
        await journal.record_fill(make_fill(f"x{number}-3", names[2], side=Side.SELL), flat, make_trade(names[0]))
        promised("closed", number)
        await journal.save_statistics(Statistics(total=Counters(evaluations_run=number + 1), started_at=T0))
        promised("counted", number)


if __name__ == "__main__":
    opened_journal = Journal.open(Path(sys.argv[1]), clock=SimulatedClock(T0))
    promised("opened", 0)
    asyncio.run(work(opened_journal, int(sys.argv[2])))
    opened_journal.close()
    promised("finished", 0)
