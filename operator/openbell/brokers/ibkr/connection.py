"""One connection to the gateway, kept up: dialled, synchronised, watched and hung up as `supervision` decides.

It belongs to an owner (the broker's adapter, or market data alone), who is told what happens on it. Whatever is asked
over it, by whomever, goes through its one bucket of messages: a question never takes the place of an order.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from openbell.brokers.ibkr import supervision
from openbell.brokers.ibkr.account import Wanted
from openbell.brokers.ibkr.errors import Meaning, meaning_of, sentence
from openbell.brokers.ibkr.library import Library, LibraryMissingError
from openbell.brokers.ibkr.pacing import TokenBucket, Urgency
from openbell.brokers.ibkr.session import DataListener, NoData, OrderListener, Session
from openbell.brokers.ibkr.supervision import Action, Link, Moment, Timing
from openbell.domain.answers import Unknown
from openbell.domain.clock import Clock
from openbell.domain.errors import BrokerError

log = structlog.get_logger("openbell.ibkr")

LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway is, who we are to it, and how long it may take. `client_id` stays the same for good."""

    host: str
    port: int
    client_id: int
    wanted: Wanted = field(default_factory=Wanted)
    library: str = ""
    request_seconds: float = 10.0
    timing: Timing = field(default_factory=Timing)


class Owner(OrderListener, Protocol):
    """Whose connection it is. Only `synchronise` may await."""

    def on_dial(self) -> None:
        """A new connection is tried."""

    def refusal(self, managed: Sequence[str], session: Session) -> str:
        """After the handshake: why nothing is to be done over this connection; empty: it is taken."""
        ...

    async def synchronise(self) -> Unknown | None:
        """Ask for all that may have been missed; Unknown ends the connection."""
        ...

    def on_up(self) -> None: ...

    def on_down(self, why: str) -> None: ...

    def on_missed(self) -> None:
        """A message was dropped, or refused for its number: what was in it has to be asked for."""

    def on_error(self, number: int, code: int, text: str) -> None:
        """An error that names one of the owner's orders."""

    def on_turn(self) -> float:
        """Do what is due; seconds until something will be."""
        ...


class Feed(DataListener, Protocol):
    """Who subscribes to market data on the connection. Nothing here may await."""

    def on_over(self, why: str) -> None:
        """The connection is gone, and every subscription with it."""

    def on_data_lost(self) -> None:
        """1101: the gateway is there, and every subscription is gone."""

    def on_doubt(self) -> None:
        """1100, 1102, or a farm of market data went down or came back: what was told may be old, and have gaps."""

    def on_too_fast(self) -> None:
        """The gateway has complained of the number of messages."""

    def on_turn(self) -> float:
        """Do what is due; seconds until something will be."""
        ...


class NoFeed(NoData):
    """Nobody asks for market data."""

    def on_over(self, why: str) -> None: ...

    def on_data_lost(self) -> None: ...

    def on_doubt(self) -> None: ...

    def on_too_fast(self) -> None: ...

    def on_turn(self) -> float:
        return math.inf


class Connection:
    """The connection of one owner, and of at most one feed."""

    def __init__(
        self, settings: Settings, clock: Clock, owner: Owner, rng: random.Random, load: Callable[[str], Library]
    ) -> None:
        if settings.client_id <= 0:
            raise BrokerError(
                "the client id must be positive: client 0 takes over the orders that people place by hand"
            )
        self.on_link: Callable[[], object] = lambda: None  # the link's phase or its reason has changed
        self.settings = settings
        self.feed: Feed = NoFeed()
        self.library: Library | None = None
        self.session: Session | None = None
        self.link = Link()
        self.bucket = TokenBucket()
        self._clock = clock
        self._owner = owner
        self._rng = rng
        self._load = load
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # --- what can be seen --------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether an order could be sent now."""
        return self.link.is_usable and self.session is not None and self.session.can_write

    @property
    def why_not(self) -> str:
        """Why it is not connected."""
        return self.link.why if not self.link.is_usable else "the gateway does not read what it was sent before"

    @property
    def carries_data(self) -> bool:
        """Whether market data can be asked for now: it need not wait until orders were compared."""
        is_up = self.link.has_socket and self.link.is_server_up
        return is_up and self.session is not None and self.session.can_write

    @property
    def address(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    def asked(self) -> Session | Unknown:
        """The session to ask, or why there is none."""
        if self.session is None or not self.link.is_usable:
            return Unknown(self.link.why)
        return self.session

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and stay connected, until cancelled. Without a library that is only said."""
        try:
            self.library = self._load(self.settings.library)
        except LibraryMissingError as error:
            self.link = Link(reason=supervision.Reason.NO_LIBRARY, why=str(error), due_at=math.inf)
            log.error("gateway.library-missing", error=str(error))
            self.on_link()
            await asyncio.Event().wait()
        try:
            while True:
                self._apply(supervision.Ticked())
                due = min(
                    self.feed.on_turn(), self._owner.on_turn()
                )  # in this order: the one may need the other's answers
                self._wake.clear()  # what was just done is not news, and an event that is set is waited for in no time
                waits = supervision.wait_seconds(self.link, self._now(), self.settings.timing)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.001, min(LONGEST_WAIT_SECONDS, waits, due))):
                        await self._wake.wait()
        finally:
            was_announced = self.link.is_announced
            self.link = Link(why="the adapter was stopped")
            self._hang_up()
            if was_announced:
                self._owner.on_down(self.link.why)

    def dismiss(self, why: str) -> None:
        """Hang up, and dial no more until `recall`."""
        self._apply(supervision.Dismissed(why))

    def recall(self) -> None:
        """Dial again after `dismiss`."""
        self._apply(supervision.Recalled())

    def attach(self, feed: Feed) -> None:
        """From now on this is who asks for market data."""
        self.feed = feed
        if self.session is not None:
            self.session.tell_data_to(feed)
        self._wake.set()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Work that ends with the connection. One of each name: the one before is given up."""
        self._stop(name)
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=f"ibkr-{name}")
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def is_running(self, name: str) -> bool:
        """Whether work of that name is under way."""
        task = self._tasks.get(name)
        return task is not None and not task.done()

    async def pace(self) -> None:
        """Wait until one question may go out, which counts."""
        while not self.bucket.take(self._clock.monotonic(), Urgency.QUESTION):
            await self._clock.sleep(self.bucket.delay(self._clock.monotonic(), Urgency.QUESTION))

    def _now(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())

    def _apply(self, event: supervision.Event) -> None:
        before = self.link
        self.link, actions = supervision.step(before, event, self._now(), self.settings.timing, self._rng.random())
        if self.link != before:
            self._wake.set()
        if self.link.reason is not before.reason:
            log.info("gateway.link", phase=self.link.phase.value, reason=self.link.reason.value, why=self.link.why)
        for action in actions:
            self._do(action)
        if (self.link.phase, self.link.reason) != (before.phase, before.reason):
            self.on_link()

    def _do(self, action: Action) -> None:
        match action:
            case Action.DIAL:
                self.start("dial", self._dial())
            case Action.HANG_UP:
                self._hang_up()
            case Action.SYNCHRONISE:
                self.start("synchronise", self._synchronise())
            case Action.ASK_TIME:
                if self.session is not None and self.session.can_write and self.bucket.take(self._clock.monotonic()):
                    self.session.client.reqCurrentTime()
            case Action.RESUBSCRIBE:
                log.warning("gateway.subscriptions-lost")
                self.feed.on_data_lost()
            case Action.ANNOUNCE_UP:
                self._owner.on_up()
            case Action.ANNOUNCE_DOWN:
                self._owner.on_down(self.link.why)

    def _stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("gateway.task-failed", task=task.get_name(), error=repr(task.exception()))
            self._apply(supervision.Lost(f"an error of the adapter's own: {task.exception()!r}"))

    def _hang_up(self) -> None:
        session, self.session = self.session, None
        for name in tuple(self._tasks):
            self._stop(name)
        if session is not None:
            session.close()
        self.feed.on_over(self.link.why)

    async def _dial(self) -> None:
        settings, library = self.settings, self.library
        if library is None:
            return
        self._owner.on_dial()
        session = Session(library, self, self._owner, self.feed, settings.request_seconds)
        self.session = session
        try:
            managed = await session.connect(settings.host, settings.port, settings.client_id, settings.timing.handshake)
        except (OSError, TimeoutError) as error:
            if self.session is session:
                self._apply(supervision.Lost(f"{self.address} does not answer: {error or 'timeout'}"))
            return
        why = self._owner.refusal(managed, session)
        self._apply(supervision.Refused(why) if why else supervision.Ready())

    async def _synchronise(self) -> None:
        failed = await self._owner.synchronise()
        self._apply(supervision.Synchronised() if failed is None else supervision.Lost(failed.why))

    # --- what the session tells --------------------------------------------------------------------------------------

    def on_heard(self) -> None:
        self._apply(supervision.Heard())

    def on_connection_lost(self, why: str) -> None:
        self._apply(supervision.Lost(why))

    def on_garbled(self, what: str) -> None:
        """A message was dropped. What was in it is asked for, as all else."""
        log.error("gateway.message-dropped", message=what)
        self._owner.on_missed()
        self._wake.set()

    def on_error(self, number: int, code: int, text: str) -> None:
        said = sentence(code, text)
        match meaning_of(code, text):
            case Meaning.SERVER_LOST:
                self._apply(supervision.ServerLost())
                self.feed.on_doubt()
            case Meaning.SERVER_BACK:
                self._apply(supervision.ServerBack(data_lost=False))
                self.feed.on_doubt()
            case Meaning.SERVER_BACK_EMPTY:
                self._apply(supervision.ServerBack(data_lost=True))
            case Meaning.CLIENT_ID:
                self._apply(supervision.ClientIdInUse())
            case Meaning.FARM_DOWN | Meaning.FARM_UP as farm:
                self._farm(text.rpartition(":")[2].strip(), is_up=farm is Meaning.FARM_UP)
            case Meaning.CONNECTION if number < 0:
                self._apply(supervision.Lost(said))
            case Meaning.PACING:
                log.error("gateway.too-fast", why=said)
                self.bucket.drain(self._clock.monotonic())
                self.feed.on_too_fast()
                self._owner.on_missed()
            case Meaning.UNKNOWN | Meaning.SETTING:
                log.warning("gateway.message", code=code, text=said)
            case _:
                pass
        if number > 0:
            self._owner.on_error(number, code, text)

    def _farm(self, name: str, *, is_up: bool) -> None:
        """Security definitions are no market data. A farm that is told to be up, and was never down, is no news."""
        was_up = name not in self.link.farms_down
        self._apply(supervision.Farm(name, is_up))
        if was_up is not is_up and not name.startswith("secdef"):
            self.feed.on_doubt()
