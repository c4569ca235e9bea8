"""The wire machine keeps its promises, whatever order things happen in and whatever bytes come.

An input is a program: each byte is an operation (a command, news from a transport, a tick, time
passing), and some take their arguments from the bytes after it. After each operation:

* the transports which the actions opened and did not close are exactly those the machine knows;
* the state changes are a walk of TRANSITIONS, and after CLOSED there is no action at all;
* the deadline is not later than the nearest timer, and a live stream has one or the other;
* while the stream goes on, data is answered with events alone; other actions never stand between;
* nothing but LocalProtocolError is raised, and that only by commands.

Run it with the options of libFuzzer and its corpus::

    python fuzz/fuzz_wire.py -max_total_time=60 fuzz/corpus/wire

``--planted`` plants a bug, which a run must find: a transport that opens late is not closed.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import atheris

with atheris.instrument_imports(include=["sansio_sse.connection", "sansio_sse.wire"]):
    from sansio_sse import (
        TRANSITIONS,
        CloseTransport,
        Comment,
        Connected,
        ConnectionConfig,
        ConnectionMachine,
        ConnectionState,
        HeartbeatConfig,
        LastEventIdChanged,
        Limits,
        LocalProtocolError,
        OpenTransport,
        PrepareRequest,
        Request,
        ServerSentEvent,
        StateChanged,
        WireMachine,
    )

EVENTS = (ServerSentEvent, Connected, Comment, LastEventIdChanged)
LIVE = (ConnectionState.CONNECTING, ConnectionState.CONNECTED, ConnectionState.RECONNECTING)

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CANNED = (
    STREAM + b"\r\n",
    STREAM + b"Transfer-Encoding: chunked\r\n\r\n",
    STREAM + b"Content-Length: 40\r\n\r\n",
    STREAM + b"Content-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 503 no\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 307 go\r\nLocation: /there\r\n\r\n",
    b"HTTP/1.1 308 go\r\nLocation: http://other.example/\r\n\r\n",
    b"HTTP/1.1 204 stop\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 wait\r\n\r\n",
    b"id: 7\ndata: hello\n\n",
    b"retry: 50\n\n: comment\n",
    b"6\r\ndata\n\n\r\n",
    b"0\r\n\r\n",
    b"data: [DONE]\n\n",
)


class Run:
    """One program against one machine, and what must be true of it."""

    def __init__(self, options: int) -> None:
        config = ConnectionConfig(
            heartbeat=HeartbeatConfig(enabled=bool(options & 1), interval=3, timeout=2),
            limits=Limits(event=64, head=512, redirects=3, error_body=16, post_body=32),
            on_end="finish" if options & 2 else None,
        )
        self.request = Request("POST" if options & 4 else "GET", "http://example.com/events")
        machine = ConnectionMachine(
            self.request,
            config,
            until="[DONE]" if options & 8 else None,
            prepare=bool(options & 16),
            include={"connected", "comments", "ids"} if options & 32 else (),
        )
        self.wire = WireMachine(machine)
        self.machine = machine
        self.now = 0.0
        self.state = machine.state
        self.transports: set[int] = set()  # opened by an action, not yet closed
        self.given_up: set[int] = set()
        self.preparing: set[int] = set()

    def take(self, news: Callable[..., Sequence[Any]], *args: Any) -> None:
        before = self.state
        try:
            actions = news(*args, self.now)
        except LocalProtocolError:
            return
        assert not (before is ConnectionState.CLOSED and any(map(self.not_late, actions)))
        kinds = [isinstance(action, EVENTS) for action in actions]
        if True in kinds:
            first, last = kinds.index(True), len(kinds) - kinds[::-1].index(True)
            assert all(kinds[first:last]), "an action stands between two events"
        for action in actions:
            self.follow(action)
        self.check()

    def not_late(self, action: Any) -> bool:
        """Whether an action is not the one that is right even after CLOSED."""
        return not (isinstance(action, CloseTransport) and action.transport in self.given_up)

    def follow(self, action: Any) -> None:
        match action:
            case OpenTransport(number):
                self.transports.add(number)
                self.preparing.discard(number)
            case CloseTransport(number):
                known = self.transports | self.given_up | self.preparing
                assert number in known, f"closes transport {number}, which was never opened"
                self.transports.discard(number)
                self.preparing.discard(number)
                self.given_up.add(number)
            case PrepareRequest(_, number):
                self.preparing.add(number)
            case StateChanged(old, new):
                assert old is self.state
                assert new in TRANSITIONS[old]
                self.state = new
            case _:
                pass

    def check(self) -> None:
        wire, machine = self.wire, self.machine
        assert machine.state is self.state
        known = {wire._stream} if wire._stream else set[int]()
        known |= set(wire._sides or ())
        assert self.transports == known, f"opened {self.transports}, known {known}"
        due = machine._next_due()
        if due is not None:
            assert machine.deadline is not None
            assert machine.deadline <= due[0]
        if self.state in LIVE:
            assert due is not None or self.transports

    def late(self, number: int) -> None:
        """A transport opens although it was given up: it must be closed, or it leaks."""
        actions = self.wire.transport_opened(number, self.now)
        assert CloseTransport(number) in actions, "a late transport leaks"


def run(program: bytes) -> None:
    data = iter(program)
    model = Run(next(data, 0))
    wire = model.wire
    for operation in data:
        pick = next(data, 0)
        number = (
            sorted(model.transports)[pick % len(model.transports)] if model.transports else pick
        )
        match operation % 20:
            case 0:
                model.take(wire.connect)
            case 1:
                model.take(wire.disconnect)
            case 2:
                model.take(wire.restart)
            case 3 if pick > 200:
                model.take(wire.close)
            case 4:
                model.take(wire.pause)
            case 5:
                model.take(wire.resume)
            case 6 | 7 if wire.deadline is not None:
                model.now = max(model.now, wire.deadline)
                model.take(wire.tick)
            case 8:
                model.now += pick / 16
                model.take(wire.tick)
            case 9 | 10 if number in model.transports:
                model.take(wire.transport_opened, number)
            case 11 if number in model.transports:
                model.transports.discard(number)
                model.given_up.add(number)
                model.take(wire.transport_failed, number, OSError("broken"))
            case 12:
                model.take(wire.bytes_sent, number)
            case 13 | 14 | 15:
                model.take(wire.bytes_received, number, CANNED[pick % len(CANNED)])
            case 16:
                raw = bytes(byte for _, byte in zip(range(pick % 32), data, strict=False))
                model.take(wire.bytes_received, number, raw)
            case 17:
                model.take(wire.end_received, number)
            case 18 if model.given_up:
                model.late(sorted(model.given_up)[pick % len(model.given_up)])
            case 19 if pick > 128:
                model.take(lambda now: wire.post(object(), "/up", now, content=b"x"))
            case 19:
                for preparing in sorted(model.preparing):
                    model.preparing.discard(preparing)
                    model.take(wire.request_prepared, preparing, model.request)
            case _:
                pass


def test_one_input(data: bytes) -> None:
    run(data)


def plant() -> None:
    opened = WireMachine.transport_opened

    def planted(self: WireMachine, transport: int, now: float) -> Sequence[Any]:
        actions = opened(self, transport, now)
        return () if actions == [CloseTransport(transport)] else actions

    WireMachine.transport_opened = planted  # type: ignore[method-assign] # the bug is planted here


def main() -> None:
    if "--planted" in sys.argv:
        sys.argv.remove("--planted")
        plant()
    atheris.Setup([sys.argv[0], "-max_len=200", *sys.argv[1:]], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
