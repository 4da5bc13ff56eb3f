"""The frame codec: what goes in comes out, whatever the pieces; what is no frame harms nobody."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.protocol import frames as f

NONCE = bytes(range(16))
kinds = st.sampled_from([f.REQUEST, f.RESPONSE, f.DATA, f.OUTPUT, f.EVENT, f.CREDIT, f.PING])
frame = st.tuples(kinds, st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=300))
frames = st.lists(frame, max_size=20)


def encoded(found: list[f.Frame]) -> bytes:
    return b"".join(f.encode(kind, stream, payload, flags) for kind, flags, stream, payload in found)


def in_pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(frames, st.lists(st.integers(1, 100), max_size=40))
def test_what_goes_in_comes_out(sent: list[f.Frame], sizes: list[int]) -> None:
    decoder = f.Decoder(f.HELLO_PREFIX, resync=True)
    received = []
    for piece in in_pieces(f.hello(NONCE) + encoded(sent), sizes):
        received += decoder.feed(piece)
    assert received[0][0] == f.HELLO
    assert f.parse_hello(received[0][3]) == (NONCE, f.VERSION, f.VERSION)
    assert received[1:] == sent
    assert decoder.buffered == 0


@given(st.binary(max_size=200), frames)
def test_stale_bytes_are_skipped(stale: bytes, sent: list[f.Frame]) -> None:
    decoder = f.Decoder(f.welcome_prefix(NONCE), resync=False)
    received = decoder.feed(stale + f.welcome(NONCE) + encoded(sent))
    assert f.parse_welcome(received[0][3]) == (NONCE, f.VERSION)
    assert received[1:] == sent


@given(frames, st.binary(min_size=1, max_size=300))
def test_a_new_client_is_heard_in_the_middle_of_a_frame(sent: list[f.Frame], payload: bytes) -> None:
    cut = f.encode(f.DATA, 7, payload)
    decoder = f.Decoder(f.HELLO_PREFIX, resync=True)
    decoder.feed(f.hello(bytes(16)) + cut[:-1])
    received = decoder.feed(f.PADDING + f.hello(NONCE) + encoded(sent))
    hellos = [at for at, each in enumerate(received) if each[0] == f.HELLO]
    assert f.parse_hello(received[hellos[-1]][3])[0] == NONCE
    assert received[hellos[-1] + 1 :] == sent


@given(st.binary(min_size=1, max_size=3000) | st.binary(min_size=1, max_size=100), st.data())
def test_a_frame_that_a_newcomer_completed_is_dropped(payload: bytes, data: st.DataObject) -> None:
    missing = data.draw(st.integers(1, len(payload)))
    cut = f.encode(f.DATA, 7, payload)[:-missing]
    newcomer = f.hello(NONCE) + f.PADDING + f.hello(NONCE)
    # In one piece, and in two with the border where the old frame ends.
    border = missing if missing > 1 else 0
    for pieces in ([newcomer], [newcomer[:border], newcomer[border:]]):
        decoder = f.Decoder(f.HELLO_PREFIX, resync=True)
        received = decoder.feed(f.hello(bytes(16)) + cut)
        for piece in pieces:
            received += decoder.feed(piece)
        assert {kind for kind, *_ in received} == {f.HELLO}
        assert f.parse_hello(received[-1][3])[0] == NONCE


@given(st.lists(st.binary(max_size=3000), max_size=20))
def test_garbage_is_bounded(pieces: list[bytes]) -> None:
    decoder = f.Decoder(f.HELLO_PREFIX, resync=True)
    for piece in pieces:
        decoder.feed(piece)
        assert decoder.buffered < f.HEADER_SIZE + f.MAX_PAYLOAD


@given(
    st.binary(min_size=f.HEADER_SIZE, max_size=100).filter(
        lambda data: data[:2] != f.HEADER.pack(f.MARK, 0, 0, 0, 0)[:2]
    )
)
def test_garbage_after_the_handshake_is_refused(garbage: bytes) -> None:
    decoder = f.Decoder(f.welcome_prefix(NONCE), resync=False)
    decoder.feed(f.welcome(NONCE))
    with pytest.raises(f.FrameError):
        decoder.feed(garbage)


def test_claimed_lengths_allocate_nothing() -> None:
    decoder = f.Decoder(f.welcome_prefix(NONCE), resync=False)
    decoder.feed(f.welcome(NONCE))
    with pytest.raises(f.FrameError, match="length 4294967295"):
        decoder.feed(f.HEADER.pack(f.MARK, f.DATA, 0, 1, 0xFFFFFFFF))


def test_too_large_to_send() -> None:
    with pytest.raises(f.FrameError):
        f.encode(f.DATA, 1, bytes(f.MAX_PAYLOAD + 1))
    with pytest.raises(f.FrameError):
        f.encode_message(f.REQUEST, 1, bytes(f.MAX_MESSAGE + 1))


@given(st.integers(0, f.MAX_MESSAGE))
def test_long_messages_span_frames(size: int) -> None:
    message = os.urandom(64) * (size // 64 + 1)
    decoder = f.Decoder(f.HELLO_PREFIX, resync=True)
    received = decoder.feed(f.hello(NONCE) + f.encode_message(f.REQUEST, 3, message[:size]))[1:]
    assert b"".join(payload for *_, payload in received) == message[:size]
    assert [flags for _, flags, *_ in received] == [f.FLAG_MORE] * (len(received) - 1) + [0]


@pytest.mark.parametrize("body", [b"", b"AETHERIUM-GUEST\n", b"x" * 40, b"AETHERIUM-GUEST\n" + bytes(100)])
def test_malformed_greetings(body: bytes) -> None:
    with pytest.raises(f.FrameError):
        f.parse_hello(body)
    with pytest.raises(f.FrameError):
        f.parse_welcome(body)


def test_tiny_frames_cost_more_than_they_hold() -> None:
    assert f.cost(b"x") == f.LEAST_COST
    assert f.cost(bytes(1000)) == 1000
