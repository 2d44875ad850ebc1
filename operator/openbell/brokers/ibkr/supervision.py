"""The connection to the gateway as a state machine: what happened and the time in, the next state and what to do out.

Pure: no socket, no clock, no randomness of its own. The adapter's `run` dials and hangs up as it is told here.

    Waiting ─ due ─▶ Connecting ─ ready ─▶ Synchronising ─ done ─▶ Connected
       ▲                 │                      │                     │
       └──── lost, refused, too slow, silent ───┴─────────────────────┘

Connected means that the gateway answers. Whether IBKR answers the gateway is `is_server_up` (1100, 1101, 1102): while
it is not, nothing is sent; once it is again, everything is synchronised and compared as after a new connection, for
fills of that time may never be pushed. A client id that is in use (326) is waited out with the same id, as an old
connection of ours may linger: orders under another id could no longer be changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import TypeAlias
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the day, in `zone`, at which IBKR resets its servers on these weekdays (Monday 0)."""

    start: time
    end: time
    weekdays: frozenset[int]
    zone: ZoneInfo = EASTERN

    def contains(self, now: datetime) -> bool:
        local = now.astimezone(self.zone)
        if self.start <= self.end:
            return self.start <= local.time() < self.end and local.weekday() in self.weekdays
        if local.time() >= self.start:
            return local.weekday() in self.weekdays
        return local.time() < self.end and (local - timedelta(days=1)).weekday() in self.weekdays


# IBKR's system status page, North America: 00:15 to 01:45 ET from Sunday to Friday, and from Friday 23:00 to Saturday
# 03:00. Older documentation says 23:45 to 00:45, so the day's window begins there.
RESETS = (
    Window(time(23, 45), time(1, 45), frozenset({6, 0, 1, 2, 3})),
    Window(time(23, 0), time(3, 0), frozenset({4})),
)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, and the windows of resets. `first_retry` doubles up to `longest_retry`, less up to half by jitter."""

    handshake: float = 15.0
    synchronise: float = 30.0
    heartbeat: float = 20.0
    silence: float = 10.0  # a heartbeat without any answer for so long: the socket is half open
    first_retry: float = 1.0
    longest_retry: float = 60.0
    reset_retry: float = 30.0
    steady: float = 60.0  # a connection that held so long starts the backoff anew
    client_id_retry: float = 5.0
    client_id_alarm: float = 60.0
    login_alarm: float = 900.0
    server_lost: float = 300.0  # cut off from IBKR for so long: dial anew, in case the word that it is back was lost
    resets: tuple[Window, ...] = RESETS


@dataclass(frozen=True, slots=True)
class Moment:
    """A reading of both clocks."""

    wall: datetime
    monotonic: float


class Phase(StrEnum):
    WAITING = "Waiting"
    CONNECTING = "Connecting"
    SYNCHRONISING = "Synchronising"
    CONNECTED = "Connected"


class Reason(StrEnum):
    """Why there is no connection, as a condition's reason."""

    NOT_TRIED = "NotTried"
    UNREACHABLE = "Unreachable"
    LOST = "Lost"
    SILENT = "Silent"
    CLIENT_ID_IN_USE = "ClientIdInUse"
    NEEDS_LOGIN = "NeedsLogin"
    SERVER_LOST = "ServerLost"
    REFUSED = "Refused"  # the account is not the one that may be traded here
    DISMISSED = "DisconnectedByHand"
    NO_LIBRARY = "LibraryMissing"
    CONNECTED = "Connected"


# --- what happens ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The handshake is done: the gateway has named its accounts and the next order id."""


@dataclass(frozen=True, slots=True)
class Synchronised:
    """What was asked for after the handshake has been answered."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is over, or was not made."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """We do not want this connection: its account is not the one to trade. Tried again, as the gateway may change."""

    why: str


@dataclass(frozen=True, slots=True)
class ClientIdInUse:
    """The gateway says that another connection has our id."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Any message has come in."""


@dataclass(frozen=True, slots=True)
class ServerLost:
    """1100: the gateway is cut off from IBKR."""


@dataclass(frozen=True, slots=True)
class ServerBack:
    """1101 (`data_lost`) or 1102."""

    data_lost: bool


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A person wants no connection: hang up, and do not dial until one is wanted again."""

    why: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """A person wants the connection again."""


@dataclass(frozen=True, slots=True)
class Farm:
    """A data farm came up or went down."""

    name: str
    is_up: bool


Event: TypeAlias = (
    Ticked
    | Ready
    | Synchronised
    | Lost
    | Refused
    | ClientIdInUse
    | Heard
    | ServerLost
    | ServerBack
    | Dismissed
    | Recalled
    | Farm
)


class Action(StrEnum):
    """What the adapter does, in the order given."""

    DIAL = "Dial"
    HANG_UP = "HangUp"
    SYNCHRONISE = "Synchronise"
    ASK_TIME = "AskTime"
    RESUBSCRIBE = "Resubscribe"
    ANNOUNCE_UP = "AnnounceUp"
    ANNOUNCE_DOWN = "AnnounceDown"


@dataclass(frozen=True, slots=True)
class Link:
    """The state. Times are monotonic, but for `down_since`; `is_announced`: the others were told that it is up."""

    phase: Phase = Phase.WAITING
    reason: Reason = Reason.NOT_TRIED
    why: str = "not connected yet"
    due_at: float = float("-inf")  # Waiting: dial; otherwise: too slow, or the next heartbeat
    asked_at: float | None = None  # when the heartbeat that has no answer yet was sent
    since: float = float("-inf")  # when the phase began
    attempts: int = 0
    in_use_since: float | None = None
    down_since: datetime | None = None
    server_lost_at: float | None = None
    is_resynchronising: bool = False
    is_announced: bool = False
    farms_down: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_server_up(self) -> bool:
        """Whether IBKR answers the gateway, as far as it has told."""
        return self.server_lost_at is None

    @property
    def has_socket(self) -> bool:
        """Whether the gateway has answered the handshake of this connection."""
        return self.phase in {Phase.SYNCHRONISING, Phase.CONNECTED}

    @property
    def is_usable(self) -> bool:
        """Whether orders can be sent now."""
        return self.phase is Phase.CONNECTED and self.is_server_up and self.is_announced


Step: TypeAlias = tuple[Link, tuple[Action, ...]]


def step(link: Link, event: Event, now: Moment, timing: Timing, jitter: float = 0.0) -> Step:
    """The next state. `jitter` in [0, 1) spreads the attempts to connect."""
    match event:
        case Ticked():
            return _ticked(link, now, timing, jitter)
        case Ready() if link.phase is Phase.CONNECTING:
            ready = replace(
                link,
                phase=Phase.SYNCHRONISING,
                since=now.monotonic,
                due_at=now.monotonic + timing.synchronise,
                server_lost_at=None,
                farms_down=frozenset(),
            )
            return ready, (Action.SYNCHRONISE,)
        case Synchronised() if link.phase is Phase.SYNCHRONISING or link.is_resynchronising:
            return _synchronised(link, now, timing)
        case Heard():
            return (link if link.asked_at is None else replace(link, asked_at=None)), ()
        case Farm(name, is_up):
            down = link.farms_down - {name} if is_up else link.farms_down | {name}
            return replace(link, farms_down=down), ()
        case Dismissed(why) if link.reason not in {Reason.DISMISSED, Reason.NO_LIBRARY}:
            dismissed, actions = _down(link, Reason.DISMISSED, why, now, timing, jitter)
            return replace(dismissed, why=why, due_at=float("inf"), attempts=0), actions
        case Recalled() if link.reason is Reason.DISMISSED:
            return Link(due_at=now.monotonic), ()
        case ServerLost() if link.has_socket:
            lost_at = now.monotonic if link.server_lost_at is None else link.server_lost_at
            lost = replace(link, server_lost_at=lost_at, is_resynchronising=False, is_announced=False)
            lost = replace(lost, reason=Reason.SERVER_LOST, why="IB Gateway has lost its connection to IBKR")
            return lost, ((Action.ANNOUNCE_DOWN,) if link.is_announced else ())
        case ServerBack(data_lost) if link.has_socket:
            return _server_back(link, now, timing, data_lost)
        case ClientIdInUse() if link.phase is not Phase.WAITING:
            return _in_use(link, now, timing)
        case Lost(why) if link.phase is not Phase.WAITING:
            return _down(link, Reason.LOST if link.is_announced else Reason.UNREACHABLE, why, now, timing, jitter)
        case Refused(why) if link.phase is not Phase.WAITING:
            return _down(link, Reason.REFUSED, why, now, timing, jitter)
    return link, ()


def wait_seconds(link: Link, now: Moment, timing: Timing) -> float:
    """How long nothing is due by time alone."""
    due = link.due_at
    if link.asked_at is not None:
        due = min(due, link.asked_at + timing.silence)
    return max(0.0, due - now.monotonic)


def _ticked(link: Link, now: Moment, timing: Timing, jitter: float) -> Step:
    if link.asked_at is not None and now.monotonic >= link.asked_at + timing.silence:
        return _down(link, Reason.SILENT, "IB Gateway fell silent", now, timing, jitter)
    if now.monotonic < link.due_at:
        return link, ()
    match link.phase:
        case Phase.WAITING:
            dialling = replace(
                link,
                phase=Phase.CONNECTING,
                since=now.monotonic,
                due_at=now.monotonic + timing.handshake,
                attempts=link.attempts + 1,
                down_since=link.down_since or now.wall,
            )
            return dialling, (Action.DIAL,)
        case Phase.CONNECTING:
            why = "IB Gateway took the connection and did not answer the handshake; it may not be logged in"
            return _down(link, Reason.UNREACHABLE, why, now, timing, jitter)
        case Phase.SYNCHRONISING:
            why = f"orders and executions were not answered within {timing.synchronise:g} s"
            return _down(link, Reason.SILENT, why, now, timing, jitter)
        case Phase.CONNECTED:
            if link.is_resynchronising and now.monotonic >= link.since + timing.synchronise:
                why = f"orders and executions were not answered within {timing.synchronise:g} s"
                return _down(link, Reason.SILENT, why, now, timing, jitter)
            if link.server_lost_at is not None and now.monotonic >= link.server_lost_at + timing.server_lost:
                why = "IB Gateway has lost its connection to IBKR"
                return _down(link, Reason.SERVER_LOST, why, now, timing, jitter)
            asked = link.asked_at if link.asked_at is not None else now.monotonic
            return replace(link, asked_at=asked, due_at=now.monotonic + timing.heartbeat), (Action.ASK_TIME,)


def _synchronised(link: Link, now: Moment, timing: Timing) -> Step:
    up = replace(
        link,
        phase=Phase.CONNECTED,
        since=now.monotonic,
        due_at=now.monotonic + timing.heartbeat,
        asked_at=None,
        in_use_since=None,
        down_since=None,
        is_resynchronising=False,
    )
    if not link.is_server_up:
        return up, ()  # 1101 or 1102 asks anew
    return replace(up, is_announced=True, reason=Reason.CONNECTED, why="connected"), (Action.ANNOUNCE_UP,)


def _server_back(link: Link, now: Moment, timing: Timing, data_lost: bool) -> Step:
    """1101 and 1102 can come without the 1100 before them, which was lost: what is open is asked again all the same."""
    actions: list[Action] = [Action.ANNOUNCE_DOWN] if link.is_announced else []
    if data_lost:
        actions.append(Action.RESUBSCRIBE)
    back = replace(
        link, server_lost_at=None, is_announced=False, reason=Reason.SERVER_LOST, why="what was missed is asked for"
    )
    if link.phase is Phase.SYNCHRONISING:
        # What was asked before may have been answered without IBKR: ask again, with the whole time for it.
        return replace(back, due_at=now.monotonic + timing.synchronise), (*actions, Action.SYNCHRONISE)
    again = replace(
        back, is_resynchronising=True, since=now.monotonic, due_at=min(link.due_at, now.monotonic + timing.synchronise)
    )
    return again, (*actions, Action.SYNCHRONISE)


def _in_use(link: Link, now: Moment, timing: Timing) -> Step:
    since = link.in_use_since if link.in_use_since is not None else now.monotonic
    waited = now.monotonic - since
    why = "the gateway still has a connection with our client id; it is waited for"
    if waited >= timing.client_id_alarm:
        long = f"for more than {timing.client_id_alarm:.0f} s"
        why = f"another program has been connected with our client id {long}; only one may trade"
    waiting, actions = _down(link, Reason.CLIENT_ID_IN_USE, why, now, timing, 0.0)
    return replace(waiting, due_at=now.monotonic + timing.client_id_retry, in_use_since=since), actions


def _down(link: Link, reason: Reason, why: str, now: Moment, timing: Timing, jitter: float) -> Step:
    held = link.phase is Phase.CONNECTED and now.monotonic - link.since >= timing.steady
    attempts = 0 if held else link.attempts
    pause = min(timing.longest_retry, timing.first_retry * 2.0 ** min(attempts, 16)) * (1.0 - jitter / 2.0)
    down_since = link.down_since or now.wall
    if any(window.contains(now.wall) for window in timing.resets):
        pause = min(pause, timing.reset_retry)
        why = f"{why}; IBKR resets its servers at this time of the day"
    elif reason is Reason.UNREACHABLE and _needs_login(down_since, now, timing):
        reason = Reason.NEEDS_LOGIN
        why = f"{why}; the login of the week ended on Sunday 01:00 New York time, so IB Gateway may wait for a new one"
    waiting = replace(
        link,
        phase=Phase.WAITING,
        reason=reason,
        why=why,
        due_at=now.monotonic + pause,
        asked_at=None,
        since=now.monotonic,
        attempts=attempts,
        in_use_since=link.in_use_since if reason is Reason.CLIENT_ID_IN_USE else None,
        down_since=down_since,
        server_lost_at=None,
        is_resynchronising=False,
        is_announced=False,
        farms_down=frozenset(),
    )
    hang_up = () if link.phase is Phase.WAITING else (Action.HANG_UP,)
    return waiting, ((*hang_up, Action.ANNOUNCE_DOWN) if link.is_announced else hang_up)


def _needs_login(down_since: datetime, now: Moment, timing: Timing) -> bool:
    """Whether the connection has been down for long, over the end of the week's login."""
    local = now.wall.astimezone(EASTERN)
    sunday = local - timedelta(days=(local.weekday() + 1) % 7)
    ended = sunday.replace(hour=1, minute=0, second=0, microsecond=0)
    if ended > local:
        ended -= timedelta(days=7)
    # An outage that began up to a day before: the gateway restarts at its own hour.
    began = down_since.astimezone(EASTERN)
    is_long = (now.wall - down_since).total_seconds() >= timing.login_alarm
    return is_long and ended - timedelta(days=1) <= began <= ended + timedelta(days=1)
