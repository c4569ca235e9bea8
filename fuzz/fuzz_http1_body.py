"""The body readers equal h11, and do not care how the bytes are cut into reads.

An input is one byte that says how the body is framed (``s``: sized, ``e``: ended by the connection,
anything else: chunked), two bytes that say where it is cut (the first is the size too, if sized),
and the body. Run it with the options of libFuzzer and its corpus::

    python fuzz/fuzz_http1_body.py -max_total_time=60 fuzz/corpus/http1_body

``--planted`` plants a bug, which a run must find: a bare LF passes in a chunk extension. No seed
has one there.
"""

import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

import atheris
import h11

# Coverage of h11 and of the rest would only distract, and cost half the runs.
with atheris.instrument_imports(include=["sansio_sse.http1_body"]):
    from sansio_sse import http1_body
    from sansio_sse.http1_body import BodyReader, ChunkedBody, CloseDelimitedBody, SizedBody

LONGEST = 8192  # below all limits, which are not h11's


class Outcome(NamedTuple):
    payload: bytes
    complete: bool
    failed: bool
    leftover: bool


def read_with_h11(head: bytes, body: bytes, *, eof: bool) -> Outcome:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * LONGEST)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    payload = b""
    complete = False
    for piece in [head + body] + [b""] * eof:
        connection.receive_data(piece)
        while not complete:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return Outcome(payload, False, True, False)
            if isinstance(event, h11.Data):
                payload += event.data
            elif isinstance(event, h11.EndOfMessage):
                complete = True
            elif not isinstance(event, h11.Response):
                break
    return Outcome(payload, complete, False, complete and connection.trailing_data[0] != b"")


def read_with(reader: BodyReader, pieces: Sequence[bytes], *, eof: bool) -> Outcome:
    payload = b"".join(reader.feed(piece) for piece in pieces)
    if eof:
        reader.end()
    return Outcome(payload, reader.complete, reader.error is not None, reader.leftover)


def check(data: bytes) -> None:
    kind, first, second = data[:1], data[1], data[2]
    body = data[3:LONGEST]

    def reader() -> BodyReader:
        if kind == b"s":
            return SizedBody(first)
        return CloseDelimitedBody() if kind == b"e" else ChunkedBody()

    framing = b"Transfer-Encoding: chunked\r\n"
    if kind in (b"s", b"e"):
        framing = b"Content-Length: %d\r\n" % first if kind == b"s" else b""
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"
    cut, other = sorted((first, second))
    cuts = [
        [body],
        [body[i : i + 1] for i in range(len(body))],
        [body[:cut], body[cut:other], body[other:]],
        [body[i : i + 1 + second] for i in range(0, len(body), 1 + second)],
    ]
    for eof in (False, True):
        expected = read_with_h11(head, body, eof=eof)
        outcomes = {read_with(reader(), pieces, eof=eof) for pieces in cuts}
        assert len(outcomes) == 1, f"the reads matter: {outcomes}"
        (outcome,) = outcomes
        # Without an end we may already know what h11 will only say at the next line end.
        early = not eof and outcome == expected._replace(failed=True)
        assert outcome == expected or early, f"{outcome} is not {expected}"


def test_one_input(data: bytes) -> None:
    if len(data) >= 3:
        check(data)


def plant() -> None:
    for name in ("_SIZE_LINE", "_SIZE_LINE_BEGUN"):
        pattern: bytes = getattr(http1_body, name).pattern
        planted = pattern.replace(rb"[^\n]*", rb"[^\0]*")
        assert planted != pattern
        setattr(http1_body, name, re.compile(planted))


def main() -> None:
    if "--planted" in sys.argv:
        sys.argv.remove("--planted")
        plant()
    # Short inputs have all the bugs; the command line may say otherwise.
    atheris.Setup([sys.argv[0], "-max_len=200", *sys.argv[1:]], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
