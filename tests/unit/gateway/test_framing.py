"""Framing: any cut of the bytes gives the same messages, and no bytes give anything but messages or one error."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_bytes import hello, message

from openbell.gateway.errors import FrameError
from openbell.gateway.wire.frames import MAX_FRAME, Framer, Hello, Message, frame

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
MESSAGES = st.lists(st.lists(TEXTS, min_size=1, max_size=5), max_size=3)


def fed(framer: Framer, pieces: list[bytes]) -> list[Hello | Message]:
    return [item for piece in pieces for item in framer.feed(piece)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in itertools.pairwise(edges)]


@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=5))
def test_messages_are_the_same_however_the_bytes_are_cut(messages: list[list[str]], places: list[int]) -> None:
    data = hello() + b"".join(message(*fields) for fields in messages)
    items = fed(Framer(), cut(data, places))
    assert items[0] == Hello(157, 176)
    assert [item.fields for item in items[1:] if isinstance(item, Message)] == [tuple(m) for m in messages]


@given(st.lists(TEXTS, min_size=1, max_size=20))
def test_what_is_written_reads_back_as_a_client_reads_it(fields: list[str]) -> None:
    data = frame(fields)
    (length,) = struct.unpack("!I", data[:4])
    assert len(data) == 4 + length
    assert data[4:].decode().split("\0")[:-1] == fields


@given(st.binary(max_size=400), st.booleans(), st.lists(st.integers(0, 400), max_size=5))
def test_any_bytes_give_messages_or_one_kind_of_error(noise: bytes, greeted: bool, places: list[int]) -> None:
    framer = Framer(max_frame=256)
    for piece in cut(hello() * greeted + noise, places):
        try:
            framer.feed(piece)
        except FrameError:
            with pytest.raises(FrameError, match="nothing is read"):
                framer.feed(b"more")
            break
        assert framer.held <= 256 + 4 + len(piece)


def test_a_frame_that_is_too_long_is_refused_before_it_is_kept() -> None:
    framer = Framer()
    framer.feed(hello())
    with pytest.raises(FrameError, match="1048577 bytes"):
        framer.feed(struct.pack("!I", MAX_FRAME + 1) + b"x" * 100)
    assert framer.held == 0


def test_what_was_right_before_a_wrong_frame_is_still_given() -> None:
    framer = Framer()
    assert framer.feed(hello() + message(49, 1) + struct.pack("!I", 0)) == [Hello(157, 176), Message(("49", "1"))]
    with pytest.raises(FrameError):
        framer.feed(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"API\0" + struct.pack("!I", 5) + b"hello",
        hello(200, 100),
        hello() + struct.pack("!I", 3) + b"abc",
        hello() + struct.pack("!I", 3) + b"\xff\xfe\0",
        hello() + b"\xff\xff\xff\xff",
    ],
)
def test_what_is_not_the_protocol_is_refused(data: bytes) -> None:
    framer = Framer()
    with pytest.raises(FrameError):
        fed(framer, [data, b""])


def test_options_of_a_hello_are_kept() -> None:
    assert Framer().feed(hello(100, 157, "+PACEAPI")) == [Hello(100, 157, "+PACEAPI")]


def test_a_nul_within_a_field_does_not_move_the_fields_after_it() -> None:
    assert frame(["4", "a\0b", "c"])[4:] == b"4\0a b\0c\0"
