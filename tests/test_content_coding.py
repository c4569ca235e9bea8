"""Content codings: as early as possible, within limits, and whatever a peer makes of them."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse.content_coding import MAX_CODINGS, ContentDecoder, make_decoder
from sansio_sse.errors import ContentEncodingError, LimitExceeded, RemoteProtocolError
from test_http1_body import cuts, in_pieces

MIB = 1024 * 1024
WBITS = {"gzip": 31, "deflate": 15, "raw": -15}
NAMES = {"gzip": "gzip", "deflate": "deflate", "raw": "deflate"}
TEXT = b'data: {"a": 1}\n\nid: 7\ndata: b\n\n' * 5


def decoder_for(*codings: str, max_ratio: float = 100.0, max_size: int = 4 * MIB) -> ContentDecoder:
    decoder = make_decoder(codings, max_ratio=max_ratio, max_size=max_size)
    assert decoder is not None
    return decoder


def encode(data: bytes, coding: str) -> bytes:
    encoder = zlib.compressobj(wbits=WBITS[coding])
    return encoder.compress(data) + encoder.flush()


class Outcome(NamedTuple):
    """What a decoder made of some bytes."""

    payload: bytes
    error: str


def decode(pieces: Sequence[bytes], *codings: str) -> Outcome:
    decoder = decoder_for(*codings)
    payload = b"".join(decoder.feed(piece) for piece in pieces)
    decoder.end()
    return Outcome(payload, "" if decoder.error is None else str(decoder.error))


# --- Which codings -------------------------------------------------------------------------------


@pytest.mark.parametrize("codings", [[], ["identity"], ["Identity", "IDENTITY"]])
def test_identity_needs_no_decoder(codings: list[str]) -> None:
    assert make_decoder(codings, max_ratio=100, max_size=MIB) is None


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip", "X-GZip"])
def test_gzip_has_two_names(name: str) -> None:
    assert decode([encode(TEXT, "gzip")], "identity", name) == (TEXT, "")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("br", "'br'"),
        ("zstd", "'zstd'"),
        ("compress", "'compress'"),
        ("exi\x1b[31m", "'exi [31m'"),
        ("x" * 1000, f"'{'x' * 40}'"),
        ("https://a/?b=s3cret", "'https://a/?b=…'"),
    ],
)
def test_other_codings_are_refused_by_name(name: str, shown: str) -> None:
    with pytest.raises(ContentEncodingError) as caught:
        make_decoder(["gzip", name], max_ratio=100, max_size=MIB)
    assert str(caught.value) == f"content coding {shown} is not decoded"
    assert not caught.value.retryable


def test_codings_are_undone_from_the_last_to_the_first() -> None:
    body = encode(encode(encode(TEXT, "gzip"), "raw"), "gzip")
    for pieces in cuts(body):
        assert decode(pieces, "gzip", "deflate", "x-gzip") == (TEXT, "")


def test_as_many_codings_as_anyone_could_want_and_no_more() -> None:
    body = TEXT
    for _ in range(MAX_CODINGS):
        body = encode(body, "gzip")
    assert decode([body], *["gzip"] * MAX_CODINGS) == (TEXT, "")
    with pytest.raises(ContentEncodingError, match="6 content codings on top of each other"):
        make_decoder(["gzip"] * (MAX_CODINGS + 1), max_ratio=100, max_size=MIB)


# --- Well-formed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", WBITS)
def test_all_forms_however_they_are_cut(coding: str) -> None:
    for pieces in cuts(encode(TEXT, coding)):
        assert decode(pieces, NAMES[coding]) == (TEXT, "")


@pytest.mark.parametrize("coding", WBITS)
@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])
def test_what_was_flushed_comes_out_at_once(coding: str, flush: int) -> None:
    encoder = zlib.compressobj(wbits=WBITS[coding])
    decoder = decoder_for(NAMES[coding])
    for number in range(100):
        event = b"data: %d\n\n" % number
        assert decoder.feed(encoder.compress(event) + encoder.flush(flush)) == event
    decoder.feed(encoder.flush())
    decoder.end()
    assert decoder.error is None


def test_flushed_events_come_through_two_codings() -> None:
    inner, outer = zlib.compressobj(wbits=31), zlib.compressobj()
    decoder = decoder_for("gzip", "deflate")
    for _ in range(10):
        packed = inner.compress(TEXT) + inner.flush(zlib.Z_SYNC_FLUSH)
        assert decoder.feed(outer.compress(packed) + outer.flush(zlib.Z_SYNC_FLUSH)) == TEXT


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("window", [9, 12, 15])
def test_every_deflate_header_is_recognized(level: int, window: int) -> None:
    for wbits in (window, -window):
        encoder = zlib.compressobj(level, wbits=wbits)
        body = encoder.compress(TEXT) + encoder.flush()
        assert decode([body], "deflate") == (TEXT, "")
        assert decode([body[:1], body[1:]], "deflate") == (TEXT, "")


def test_gzip_members_in_a_row() -> None:
    body = encode(b"one", "gzip") + encode(b"", "gzip") + encode(b"two", "gzip")
    for pieces in cuts(body):
        assert decode(pieces, "gzip") == (b"onetwo", "")


def test_gzip_with_every_optional_field() -> None:
    plain = gzip.compress(TEXT)
    body = plain[:3] + b"\x1e" + plain[4:10] + b"\x02\x00ab" + b"name\0" + b"comment\0"
    body += (zlib.crc32(body) & 0xFFFF).to_bytes(2, "little") + plain[10:]
    for pieces in cuts(body):
        assert decode(pieces, "gzip") == (TEXT, "")


@pytest.mark.parametrize("junk", [b"\0" * 20, b"data: x\n\n", b"\x1f", b"\x1f\x1f\x8b", b"\x8b"])
@pytest.mark.parametrize("coding", WBITS)
def test_what_follows_the_end_is_ignored(coding: str, junk: bytes) -> None:
    body = encode(TEXT, coding) + junk
    for pieces in cuts(body):
        assert decode(pieces, NAMES[coding]) == (TEXT, "")


def test_a_member_after_junk_is_junk_too() -> None:
    body = encode(TEXT, "gzip") + b"junk"
    assert decode([body, encode(b"no", "gzip")], "gzip") == (TEXT, "")


@pytest.mark.parametrize("codings", [["gzip"], ["deflate"], ["gzip", "gzip"]])
def test_an_empty_body_is_no_error(codings: list[str]) -> None:
    assert decode([], *codings) == (b"", "")
    assert decode([b""], *codings) == (b"", "")


# --- Malformed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", WBITS)
def test_a_truncated_body_is_an_error_wherever_it_is_cut(coding: str) -> None:
    body = encode(TEXT, coding)
    for end in range(1, len(body)):
        outcome = decode([body[:end]], NAMES[coding])
        assert outcome.error == f"the {NAMES[coding]} body is cut short"
        assert TEXT.startswith(outcome.payload)
        assert decode([body[i : i + 1] for i in range(end)], NAMES[coding]) == outcome


def test_a_truncated_second_member_is_an_error() -> None:
    body = encode(TEXT, "gzip") + encode(TEXT, "gzip")[:-3]
    assert decode([body], "gzip") == (TEXT + TEXT, "the gzip body is cut short")


def test_a_truncated_inner_coding_is_an_error() -> None:
    body = encode(encode(TEXT, "gzip")[:-3], "deflate")
    assert decode([body], "gzip", "deflate") == (TEXT, "the gzip body is cut short")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", TEXT),
        ("gzip", b"\x1f data"),
        ("gzip", zlib.compress(TEXT)),
        ("gzip", b"\x1f\x8b\x07" + b"\0" * 20),
        ("deflate", TEXT),
        ("deflate", gzip.compress(TEXT, mtime=0)),
        ("deflate", b"\x78\xbb" + b"\0" * 20),  # wants a dictionary
        ("deflate", b"\x88\x1c" + b"\xff" * 20),  # a window that is too large: raw, and wrong
    ],
)
def test_a_lie_about_the_coding_is_an_error(name: str, body: bytes) -> None:
    for pieces in cuts(body):
        expected = f"the body is not {name} although Content-Encoding says so"
        assert decode(pieces, name) == (b"", expected)


def test_a_wrong_checksum_is_an_error_after_all_that_it_covers() -> None:
    body = bytearray(encode(TEXT, "gzip"))
    body[-5] ^= 1
    for pieces in cuts(bytes(body)):
        assert decode(pieces, "gzip") == (TEXT, "the gzip body is corrupt")


def test_errors_are_retryable_and_final() -> None:
    decoder = decoder_for("gzip")
    decoder.feed(b"data: hi")
    error = decoder.error
    assert isinstance(error, RemoteProtocolError)
    assert error.retryable
    assert decoder.feed(encode(TEXT, "gzip")) == b""
    decoder.end()
    assert decoder.error is error


def test_damage_loses_nothing_that_stands_before_it() -> None:
    encoder = zlib.compressobj(wbits=31)
    start = encoder.compress(TEXT) + encoder.flush(zlib.Z_SYNC_FLUSH)
    body = start + b"\xff\xff\xff\xff" + b"more"
    for pieces in cuts(body):
        assert decode(pieces, "gzip") == (TEXT, "the gzip body is corrupt")


def test_the_earlier_of_two_errors_counts() -> None:
    # The outer coding is damaged behind a sync flush; what it holds until there is no gzip at all.
    encoder = zlib.compressobj()
    start = encoder.compress(b"no gzip") + encoder.flush(zlib.Z_SYNC_FLUSH)
    expected = "the body is not gzip although Content-Encoding says so"
    for pieces in cuts(start + b"\xff" * 8):
        assert decode(pieces, "gzip", "deflate") == (b"", expected)


@given(st.data(), st.sampled_from(list(WBITS)))
def test_mutated_bodies_however_they_are_cut(data: st.DataObject, coding: str) -> None:
    body = bytearray(encode(TEXT, coding) * data.draw(st.integers(1, 2)))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    cut = data.draw(st.integers(0, len(body)))
    whole = decode([bytes(body)], NAMES[coding])
    assert decode([bytes(body[:cut]), bytes(body[cut:])], NAMES[coding]) == whole
    assert decode(in_pieces(bytes(body), 1), NAMES[coding]) == whole


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_random_bytes_never_raise(body: bytes, name: str) -> None:
    assert decode([body], name) == decode(in_pieces(body, 1), name)


@given(st.binary(max_size=3000), st.sampled_from(list(WBITS)), st.integers(1, 100))
def test_round_trips(data: bytes, coding: str, size: int) -> None:
    assert decode(in_pieces(encode(data, coding), size), NAMES[coding]) == (data, "")


def test_large_bodies_round_trip() -> None:
    data = random.Random(1).randbytes(2 * MIB)
    assert decode(in_pieces(encode(data, "gzip"), 65536), "gzip") == (data, "")


# --- Limits --------------------------------------------------------------------------------------


def bomb(size: int, coding: str = "gzip") -> bytes:
    encoder = zlib.compressobj(9, wbits=WBITS[coding])
    zeros = bytes(MIB)
    return b"".join(encoder.compress(zeros) for _ in range(size // MIB)) + encoder.flush()


def test_a_read_may_not_decompress_to_more_than_max_size() -> None:
    body = encode(bytes(1000), "gzip")
    assert decoder_for("gzip", max_size=1000).feed(body) == bytes(1000)
    decoder = decoder_for("gzip", max_size=999)
    assert decoder.feed(body) == bytes(999)
    assert isinstance(decoder.error, LimitExceeded)
    assert str(decoder.error) == "the body decompresses to more than 999 bytes in one read"
    assert not decoder.error.retryable
    assert decoder.feed(body) == b""


def test_max_size_counts_all_members_of_a_read() -> None:
    body = encode(bytes(400), "gzip") * 3
    assert decoder_for("gzip", max_size=1200).feed(body) == bytes(1200)
    decoder = decoder_for("gzip", max_size=1000)
    assert decoder.feed(body) == bytes(1000)
    assert isinstance(decoder.error, LimitExceeded)
    decoder = decoder_for("gzip", max_size=400)
    assert decoder.feed(body) == bytes(400)
    assert isinstance(decoder.error, LimitExceeded)


def test_the_ratio_counts_beyond_the_first_mebibyte() -> None:
    body = bomb(8 * MIB)
    decoder = decoder_for("gzip", max_ratio=100)
    output = 0
    received = 0
    for piece in in_pieces(body, 64):
        received += len(piece)
        output += len(decoder.feed(piece))
        if decoder.error is not None:
            break
    assert isinstance(decoder.error, LimitExceeded)
    assert str(decoder.error) == "the body decompresses to more than 100 times its size"
    assert output == MIB + 100 * received


def test_a_generous_ratio_lets_it_pass() -> None:
    decoder = decoder_for("gzip", max_ratio=2000)
    assert sum(len(decoder.feed(piece)) for piece in in_pieces(bomb(8 * MIB), 1024)) == 8 * MIB
    decoder.end()
    assert decoder.error is None


def test_a_bomb_within_a_bomb_is_stopped_between_the_two() -> None:
    body = encode(bomb(256 * MIB), "gzip")
    assert len(body) < 2048
    decoder = decoder_for("gzip", "gzip", max_ratio=100, max_size=4 * MIB)
    tracemalloc.start()
    try:
        decoder.feed(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(decoder.error, LimitExceeded)
    assert peak < 16 * MIB


@pytest.mark.parametrize("coding", WBITS)
@pytest.mark.parametrize("step", [MIB, 65536, 1000])
def test_a_bomb_takes_little_memory(coding: str, step: int) -> None:
    body = bomb(64 * MIB, coding)
    decoder = decoder_for(NAMES[coding])
    tracemalloc.start()
    try:
        for piece in in_pieces(body, step):
            decoder.feed(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(decoder.error, LimitExceeded)
    assert peak < 2 * 4 * MIB + 4 * MIB


def test_a_flood_of_empty_members_is_linear() -> None:
    # zlib copies all that follows a member: without steps this is quadratic.
    body = encode(b"", "gzip") * 50_000
    decoder = decoder_for("gzip")
    assert decoder.feed(body) == b""
    decoder.end()
    assert decoder.error is None
