"""The page of reasons has each reason once, with its text."""

from __future__ import annotations

from openbell.domain.reasons import EXIT_TEXTS, TEXTS, ExitReason, Reason
from openbell.resources.reasons import SECTIONS, page, sections


def test_every_reason_has_a_text_of_its_own() -> None:
    assert set(TEXTS) == set(Reason)
    assert set(EXIT_TEXTS) == set(ExitReason)
    assert len(set(TEXTS.values())) == len(TEXTS)
    assert len(set(EXIT_TEXTS.values())) == len(EXIT_TEXTS)


def test_every_reason_is_in_one_section_and_no_section_is_empty() -> None:
    listed = [reason for _, members in sections() for reason in members]
    assert listed == list(Reason)
    assert all(members for _, members in sections())
    assert [title for title, _ in sections()] == [title for title, _ in SECTIONS]


def test_the_page_has_a_row_for_each() -> None:
    text = page()
    for reason in (*Reason, *ExitReason):
        assert text.count(f"| `{reason.value}` | {reason.text} |\n") == 1, reason
