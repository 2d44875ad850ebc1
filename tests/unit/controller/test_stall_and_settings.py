"""What keeps a valid scheduler from having a runner, Live above all, and what the operator is told by its chart."""

from __future__ import annotations

from typing import Any

import pytest

from openbell.controller.settings import OperatorSettings
from openbell.controller.stall import stall_of
from openbell.domain.errors import ManifestError
from openbell.resources.load import parse_spec
from openbell.resources.scheduler import SchedulerSpec

IBKR = {"type": "IBKR", "ibkr": {"host": "gw", "account": "U1"}}


def spec(**fields: Any) -> SchedulerSpec:
    parsed = parse_spec("TradingScheduler", fields)
    assert isinstance(parsed, SchedulerSpec)
    return parsed


def said(*, allow_live: bool = False, holder: tuple[str, str] | None = None, **fields: Any) -> tuple[str, str] | None:
    account = ("gw", "U1") if "broker" in fields else None
    stall = stall_of(spec(**fields), account, holder, allow_live=allow_live)
    return None if stall is None else (stall.reason, stall.message)


def test_nothing_stands_in_the_way_of_the_simulated_broker() -> None:
    assert said() is None
    assert said(allow_live=True) is None


def test_a_gateway_may_be_traded_on_paper_whatever_the_chart_allows() -> None:
    assert said(broker=IBKR) is None
    assert said(broker=IBKR, allow_live=True) is None


def test_live_needs_the_charts_word_and_the_account() -> None:
    chart = "spec.mode Live also needs the chart's allowLiveTrading, which is false"
    assert said(broker=IBKR, mode="Live") == ("LiveNotAllowed", chart)
    assert said(broker=IBKR, mode="Live", allow_live=True) is None
    nameless = stall_of(spec(broker=IBKR, mode="Live"), ("gw", ""), None, allow_live=True)
    assert nameless is not None
    assert nameless.reason == "LiveNotAllowed"
    assert "spec.broker.ibkr.account" in nameless.message


def test_an_account_that_another_named_first_comes_before_all_else() -> None:
    stall = said(broker=IBKR, mode="Live", holder=("n", "first"))
    assert stall == ("AccountInUse", "the account U1 at gw belongs to n/first, which named it first")


@pytest.mark.parametrize(("text", "allowed"), [("true", True), ("false", False), ("", False)])
def test_live_is_allowed_by_the_chart_alone(text: str, allowed: bool) -> None:
    assert OperatorSettings.from_environment({"OPENBELL_ALLOW_LIVE": text}).allow_live is allowed
    assert OperatorSettings.from_environment({}).allow_live is False


@pytest.mark.parametrize("text", ["yes", "True", "1", " true"])
def test_anything_but_true_or_false_is_refused_rather_than_guessed(text: str) -> None:
    with pytest.raises(ManifestError, match=r"^OPENBELL_ALLOW_LIVE is '.*'; allowed is true or false\.$"):
        OperatorSettings.from_environment({"OPENBELL_ALLOW_LIVE": text})


def test_settings_are_read_from_the_environment_and_bounded() -> None:
    read = OperatorSettings.from_environment(
        {"OPENBELL_WATCH_NAMESPACES": "a, b,", "POD_NAME": "operator-0", "OPENBELL_WORKERS": "3"}, namespace="home"
    )
    assert (read.namespaces, read.identity, read.workers, read.namespace) == (("a", "b"), "operator-0", 3, "home")
    assert read.canary_namespace == "a"
    with pytest.raises(ManifestError, match="OPENBELL_WORKERS is '0'; allowed is a number from 1 to 200"):
        OperatorSettings.from_environment({"OPENBELL_WORKERS": "0"})
