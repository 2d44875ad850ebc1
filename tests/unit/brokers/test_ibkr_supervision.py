"""The connection as a state machine: what it promises after any sequence of events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openbell.brokers.ibkr.supervision import (
    RESETS,
    Action,
    ClientIdInUse,
    Dismissed,
    Event,
    Farm,
    Heard,
    Link,
    Lost,
    Moment,
    Phase,
    Ready,
    Reason,
    Recalled,
    Refused,
    ServerBack,
    ServerLost,
    Synchronised,
    Ticked,
    Timing,
    step,
    wait_seconds,
)

TIMING = Timing()
TUESDAY = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)


class World:
    """A link and a clock; remembers what it was told to do."""

    def __init__(self, start: datetime = TUESDAY) -> None:
        self.link = Link()
        self.start = start
        self.seconds = 0.0
        self.actions: list[Action] = []

    @property
    def now(self) -> Moment:
        return Moment(self.start + timedelta(seconds=self.seconds), 1000.0 + self.seconds)

    def happen(self, *events: Event, jitter: float = 0.0) -> list[Action]:
        done: list[Action] = []
        for event in events:
            self.link, actions = step(self.link, event, self.now, TIMING, jitter)
            done += actions
        self.actions += done
        return done

    def wait(self, seconds: float) -> list[Action]:
        """Time passes, and the link is told whenever it wants to be."""
        done: list[Action] = []
        until = self.seconds + seconds
        while True:
            pause = wait_seconds(self.link, self.now, TIMING)
            if self.seconds + pause > until:
                self.seconds = until
                return done
            self.seconds += max(pause, 0.001)
            done += self.happen(Ticked())

    def connect(self) -> None:
        while self.link.phase is not Phase.CONNECTING:
            self.wait(1.0)
        self.happen(Ready(), Synchronised())
        assert self.link.is_usable


@pytest.fixture
def world() -> World:
    return World()


def test_a_connection_is_announced_once_it_is_synchronised(world: World) -> None:
    assert world.happen(Ticked()) == [Action.DIAL]
    assert world.happen(Ready()) == [Action.SYNCHRONISE]
    assert not world.link.is_usable
    assert world.happen(Synchronised()) == [Action.ANNOUNCE_UP]
    assert world.link.is_usable


def test_a_lost_connection_is_announced_at_once_and_dialled_again(world: World) -> None:
    world.connect()
    assert world.happen(Lost("the socket is gone")) == [Action.HANG_UP, Action.ANNOUNCE_DOWN]
    assert (world.link.reason, world.link.why) == (Reason.LOST, "the socket is gone")
    assert Action.DIAL in world.wait(5.0)


def test_who_is_sent_away_hangs_up_and_dials_no_more_until_called_back(world: World) -> None:
    world.connect()
    assert world.happen(Dismissed("by hand")) == [Action.HANG_UP, Action.ANNOUNCE_DOWN]
    assert (world.link.reason, world.link.why) == (Reason.DISMISSED, "by hand")
    assert (
        world.happen(Dismissed("again"), Lost("late word"), Ready(), Synchronised(), ServerBack(data_lost=True)) == []
    )
    assert world.wait(100_000.0) == []
    assert (world.link.phase, world.link.why) == (Phase.WAITING, "by hand")
    assert world.happen(Recalled()) == []
    assert world.wait(1.0) == [Action.DIAL]
    assert world.happen(Ready(), Synchronised())[-1] is Action.ANNOUNCE_UP


@pytest.mark.parametrize("before", [(), (Ticked(),), (Ticked(), Ready())])
def test_whatever_goes_on_is_ended_by_a_dismissal(world: World, before: tuple[Event, ...]) -> None:
    world.happen(*before)
    assert world.happen(Dismissed("by hand")) == ([Action.HANG_UP] if before else [])
    assert world.wait(1000.0) == []


def test_nobody_is_called_back_who_was_not_sent_away(world: World) -> None:
    world.connect()
    link = world.link
    assert world.happen(Recalled()) == []
    assert world.link == link


def test_a_library_that_is_missing_is_what_is_said_whatever_people_ask(world: World) -> None:
    world.link = Link(reason=Reason.NO_LIBRARY, due_at=float("inf"))
    assert world.happen(Dismissed("by hand"), Recalled()) == []
    assert world.link.reason is Reason.NO_LIBRARY


def test_attempts_become_rarer_to_a_bound_and_jitter_only_shortens(world: World) -> None:
    pauses = []
    for _ in range(10):
        while world.link.phase is not Phase.CONNECTING:
            world.wait(1.0)
        world.happen(Lost("refused"))
        pauses.append(wait_seconds(world.link, world.now, TIMING))
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, *[60.0] * 5]
    world.wait(60.0)
    world.happen(Lost("refused"), jitter=0.999)
    assert 30.0 <= wait_seconds(world.link, world.now, TIMING) <= 30.1


def test_a_connection_that_held_starts_the_attempts_anew(world: World) -> None:
    for _ in range(8):
        while world.link.phase is not Phase.CONNECTING:
            world.wait(1.0)
        world.happen(Lost("refused"))
    world.connect()
    world.happen(Lost("at once"))
    assert wait_seconds(world.link, world.now, TIMING) == 60.0
    world.connect()
    for _ in range(4):
        world.wait(21.0)
        world.happen(Heard())
    world.happen(Lost("later"))
    assert wait_seconds(world.link, world.now, TIMING) == 1.0


def test_a_half_open_socket_is_found_by_a_heartbeat(world: World) -> None:
    world.connect()
    assert world.wait(20.0) == [Action.ASK_TIME]
    world.happen(Heard())
    assert world.wait(19.9) == []
    assert world.wait(0.2) == [Action.ASK_TIME]
    assert world.wait(9.0) == []
    assert world.wait(1.1) == [Action.HANG_UP, Action.ANNOUNCE_DOWN]
    assert world.link.reason is Reason.SILENT


def test_a_port_that_takes_connections_and_does_not_answer_is_no_gateway(world: World) -> None:
    world.happen(Ticked())
    assert world.wait(15.1) == [Action.HANG_UP]
    assert "may not be logged in" in world.link.why


def test_while_ibkr_is_away_the_socket_stays_and_nothing_is_sent(world: World) -> None:
    world.connect()
    assert world.happen(ServerLost()) == [Action.ANNOUNCE_DOWN]
    assert world.link.phase is Phase.CONNECTED
    assert not world.link.is_usable
    assert world.happen(ServerLost()) == []


@pytest.mark.parametrize(("data_lost", "first"), [(True, [Action.RESUBSCRIBE]), (False, [])])
def test_once_ibkr_is_back_everything_is_asked_before_anything_is_sent(
    world: World, data_lost: bool, first: list[Action]
) -> None:
    world.connect()
    world.happen(ServerLost())
    assert world.happen(ServerBack(data_lost)) == [*first, Action.SYNCHRONISE]
    assert not world.link.is_usable
    assert world.happen(Synchronised()) == [Action.ANNOUNCE_UP]


def test_a_return_without_a_loss_before_it_is_compared_all_the_same(world: World) -> None:
    world.connect()
    assert world.happen(ServerBack(data_lost=False)) == [Action.ANNOUNCE_DOWN, Action.SYNCHRONISE]
    world.happen(Synchronised())
    assert world.link.is_usable


def test_a_second_loss_during_the_questions_takes_their_answers_for_nothing(world: World) -> None:
    world.connect()
    world.happen(ServerLost(), ServerBack(data_lost=False), ServerLost())
    assert world.happen(Synchronised()) == []
    assert not world.link.is_usable


def test_questions_that_are_never_answered_end_the_connection(world: World) -> None:
    world.connect()
    world.happen(ServerBack(data_lost=False))
    done: list[Action] = []
    for _ in range(6):
        done += world.wait(9.0)
        world.happen(Heard())
    assert Action.HANG_UP in done


def test_a_return_that_was_never_told_is_found_by_dialling_anew(world: World) -> None:
    world.connect()
    world.happen(ServerLost())
    done: list[Action] = []
    for _ in range(40):
        done += world.wait(9.0)
        world.happen(Heard())
    assert [action for action in done if action is not Action.ASK_TIME][:2] == [Action.HANG_UP, Action.DIAL]


def test_a_client_id_in_use_is_waited_for_and_alarms_after_a_minute(world: World) -> None:
    for _ in range(12):
        while world.link.phase is not Phase.CONNECTING:
            world.wait(1.0)
        assert world.happen(ClientIdInUse(), Lost("closed")) == [Action.HANG_UP]
        assert world.link.reason is Reason.CLIENT_ID_IN_USE
        assert wait_seconds(world.link, world.now, TIMING) == 5.0
    assert "is waited for" in world.link.why
    world.wait(5.0)
    world.happen(ClientIdInUse())
    assert "only one may trade" in world.link.why


def test_an_account_that_may_not_be_traded_is_said_and_tried_again(world: World) -> None:
    world.happen(Ticked())
    world.happen(Refused("account U1 is a live one"))
    assert (world.link.reason, world.link.why) == (Reason.REFUSED, "account U1 is a live one")
    assert Action.DIAL in world.wait(2.0)


def test_within_a_reset_of_ibkr_attempts_go_on_and_the_reason_says_so() -> None:
    world = World(datetime(2026, 11, 24, 5, 0, tzinfo=UTC))  # Tuesday 00:00 in New York
    for _ in range(10):
        while world.link.phase is not Phase.CONNECTING:
            world.wait(1.0)
        world.happen(Lost("refused"))
    assert wait_seconds(world.link, world.now, TIMING) == 30.0
    assert "resets its servers" in world.link.why


@pytest.mark.parametrize(
    ("utc", "within"),
    [
        ("2026-11-24T04:50", True),  # Monday 23:50
        ("2026-11-24T06:44", True),  # Tuesday 01:44
        ("2026-11-24T06:45", False),
        ("2026-11-24T15:00", False),
        ("2026-11-28T04:30", True),  # Friday 23:30
        ("2026-11-28T07:59", True),  # Saturday 02:59
        ("2026-11-28T08:00", False),
        ("2026-11-29T04:50", False),  # Saturday 23:50
        ("2026-11-30T05:00", True),  # Sunday into Monday
        ("2026-07-14T04:10", True),  # 00:10 in summer time
    ],
)
def test_the_windows_follow_new_york(utc: str, within: bool) -> None:
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert any(window.contains(moment) for window in RESETS) == within


def test_a_connection_that_does_not_come_back_after_sunday_needs_a_login() -> None:
    world = World(datetime(2026, 11, 29, 6, 5, tzinfo=UTC))  # Sunday 01:05 in New York
    world.happen(Ticked())
    world.happen(Lost("refused"))
    assert world.link.reason is Reason.UNREACHABLE
    while world.seconds < 1000:
        world.wait(1.0)
        if world.link.phase is Phase.CONNECTING:
            world.happen(Lost("refused"))
    assert world.link.reason is Reason.NEEDS_LOGIN
    assert "may wait for a new one" in world.link.why


def test_an_outage_in_the_week_is_no_matter_of_the_login(world: World) -> None:
    while world.seconds < 2000:
        world.wait(1.0)
        if world.link.phase is Phase.CONNECTING:
            world.happen(Lost("refused"))
    assert world.link.reason is Reason.UNREACHABLE


EVENTS = st.one_of(
    st.just(Ready()),
    st.just(Synchronised()),
    st.builds(Lost, st.just("lost")),
    st.builds(Refused, st.just("refused")),
    st.just(ClientIdInUse()),
    st.just(Heard()),
    st.just(ServerLost()),
    st.builds(ServerBack, st.booleans()),
    st.builds(Farm, st.sampled_from(["usfarm", "ushmds"]), st.booleans()),
)


class Supervision(RuleBasedStateMachine):
    """Any events at any time, in any order, late ones of a connection that is over included."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(datetime(2026, 11, 28, 3, 0, tzinfo=UTC))
        self.has_socket = False
        self.is_announced = False
        self.is_ibkr_lost = False
        self.was_synchronised = False  # whether all that was asked since the last doubt has been answered

    def _after(self, event: Event, actions: list[Action]) -> None:
        for action in actions:
            if action is Action.DIAL:
                assert not self.has_socket, "one connection at a time"
                self.has_socket = True
            elif action is Action.HANG_UP:
                assert self.has_socket
                self.has_socket = self.is_ibkr_lost = False
            elif action is Action.SYNCHRONISE:
                assert self.has_socket
                self.was_synchronised = False
            elif action is Action.ASK_TIME:
                assert self.has_socket
            elif action is Action.ANNOUNCE_UP:
                assert not self.is_announced, "told once"
                assert isinstance(event, Synchronised)
                assert not self.is_ibkr_lost
                self.is_announced = True
            elif action is Action.ANNOUNCE_DOWN:
                assert self.is_announced, "told once"
                self.is_announced = False

    @rule(event=EVENTS, jitter=st.floats(0.0, 0.999))
    def happen(self, event: Event, jitter: float) -> None:
        had_link = self.world.link.phase in {Phase.SYNCHRONISING, Phase.CONNECTED}
        if had_link and isinstance(event, ServerLost):
            self.is_ibkr_lost = True
        if isinstance(event, ServerBack):
            self.is_ibkr_lost = False
        actions = self.world.happen(event, jitter=jitter)
        self._after(event, actions)
        if isinstance(event, Lost | Refused | ClientIdInUse):
            assert self.world.link.phase is Phase.WAITING
            assert not self.has_socket

    @rule(seconds=st.floats(0.0, 400.0), jitter=st.floats(0.0, 0.999))
    def pass_time(self, seconds: float, jitter: float) -> None:
        self.world.seconds += seconds
        self._after(Ticked(), self.world.happen(Ticked(), jitter=jitter))

    @precondition(lambda self: self.world.link.phase is Phase.WAITING)
    @rule()
    def wait_until_it_dials(self) -> None:
        self.world.seconds += wait_seconds(self.world.link, self.world.now, TIMING) + 0.001
        actions = self.world.happen(Ticked())
        assert actions == [Action.DIAL], "what waits dials when it is due, and is due within a bound"
        self._after(Ticked(), actions)

    @invariant()
    def the_others_know_what_is_so(self) -> None:
        link = self.world.link
        assert link.is_usable == link.is_announced == self.is_announced
        assert not (link.is_usable and self.is_ibkr_lost)

    @invariant()
    def something_is_always_due(self) -> None:
        assert wait_seconds(self.world.link, self.world.now, TIMING) <= TIMING.longest_retry + 0.001

    @invariant()
    def the_socket_is_where_the_phase_says(self) -> None:
        assert self.has_socket == (self.world.link.phase is not Phase.WAITING)

    @invariant()
    def what_is_down_says_why(self) -> None:
        assert self.world.link.is_usable or self.world.link.reason is not Reason.CONNECTED or not self.is_announced
        assert self.world.link.why


TestSupervision = Supervision.TestCase
