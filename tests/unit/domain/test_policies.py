"""An exit policy travels as one canonical text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.policies import ExitPolicyError, decode_policy, encode_policy
from openbell.domain.positions import Escalation, ExitPolicy, ScaleOut, TrailingStop

ratios = st.floats(0, 10)
policies = st.builds(
    ExitPolicy,
    st.none() | ratios,
    st.none() | ratios,
    st.none() | st.builds(TrailingStop, ratios, ratios),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.lists(st.builds(ScaleOut, ratios, ratios), max_size=5).map(tuple),
    st.none() | st.builds(Escalation, st.integers(0, 3600), ratios),
    st.booleans(),
    stop_price=st.none() | st.decimals(0, 10**6, places=4),
)


@given(policies)
def test_a_policy_comes_back_as_it_went(policy: ExitPolicy) -> None:
    assert decode_policy(encode_policy(policy)) == policy


def test_the_text_is_canonical() -> None:
    assert encode_policy(ExitPolicy(0.02, None, TrailingStop(0.03, 0.01), 60)) == (
        '{"brokerSide":false,"escalation":null,"flatBeforeCloseSeconds":0,"maxHoldingSeconds":60,"scaleOut":[],'
        '"stopLoss":0.02,"takeProfit":null,"trailing":{"activation":0.03,"distance":0.01}}'
    )


def test_a_text_of_a_version_without_parts_escalation_and_protection_has_them_off() -> None:
    stored = '{"flatBeforeCloseSeconds":0,"maxHoldingSeconds":60,"stopLoss":0.02,"takeProfit":null,"trailing":null}'
    assert decode_policy(stored) == ExitPolicy(0.02, None, max_holding_seconds=60)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{}",
        "null",
        "[]",
        encode_policy(ExitPolicy()).replace("0.02", '"0.02"'),
        encode_policy(ExitPolicy()).replace("0.02", "true"),
        encode_policy(ExitPolicy()).replace("0.02", "NaN"),
        encode_policy(ExitPolicy()).replace('"trailing":null', '"trailing":{"activation":0.1}'),
        encode_policy(ExitPolicy()).replace('"trailing":null', '"trailing":7'),
        encode_policy(ExitPolicy()).replace('"scaleOut":[]', '"scaleOut":[{"profit":1}]'),
        encode_policy(ExitPolicy()).replace('"escalation":null', '"escalation":{"limitSeconds":1}'),
        encode_policy(ExitPolicy()).replace('"escalation":null', '"escalation":"soon"'),
    ],
)
def test_any_other_text_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ExitPolicyError, match="is not one that this version writes"):
        decode_policy(text)
