"""The wire machine against servers of bytes: whatever is cut or late, nothing is lost.

Each transport has a peer, which answers the request that it reads. What a peer has written arrives
in pieces of any size, or does not arrive any more.
"""

import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from machine_book import ACTIVE, EVENTS, SECRET, STOP, Book, EventLog, S, SpyParser, spied_parsers
from sansio_sse import (
    CloseTransport,
    ConnectionConfig,
    ConnectionMachine,
    HeartbeatConfig,
    Include,
    KeepTransport,
    Limits,
    OpenTransport,
    PauseTransport,
    PostAnswered,
    PrepareRequest,
    ReconnectionPolicy,
    Request,
    RequestAdmission,
    ResumeTransport,
    SendBytes,
    WireMachine,
)

URL = "http://example.com/events"
STREAMS = ["chunked", "chunked", "sized", "close", "gzip", "1xx", "padded"]
REFUSALS = {
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
    "503": b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "500": b"HTTP/1.1 500 Oh\r\n\r\nsome long text that goes on until the end",
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>",
    "garbage": b"SSH-2.0-OpenSSH_9.6\r\n",
    "smuggler": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "moved": b"HTTP/1.1 308 Moved\r\nLocation: /moved\r\nContent-Length: 4\r\n\r\nmove",
    "found": b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/events\r\n\r\n",
    "nowhere": b"HTTP/1.1 302 Found\r\n\r\n",
}
SIDES = {
    "good": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong",
    "chunked": b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\n\r\ngoes on",
    "bad": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"nonsense",
    "large": b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200,
}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class Peer:
    """The server's end of one transport."""

    def __init__(self) -> None:
        self.opened = False
        self.writing = False  # SendBytes has no answer yet
        self.out = b""  # written, not yet arrived
        self.path = ""
        self.cursor = ""
        self.how = ""
        self.streams = False  # what is published is written here too
        self.ended = False
        self.complete = False  # the end of the body is written
        self.coder: Any = None

    def read(self, data: bytes) -> None:
        """Read the request: it comes in one piece."""
        head, blank, _ = data.partition(b"\r\n\r\n")
        assert blank
        lines = head.decode().split("\r\n")
        self.path = lines[0].split(" ")[1]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        assert "host" in headers
        if headers["host"] != "example.com":
            assert "authorization" not in headers, "credentials stay at home"
        self.cursor = headers.get("last-event-id", "")

    def answer(self, how: str, log: EventLog) -> None:
        """Begin to answer as an event stream."""
        self.how = how
        backlog = log.after(self.cursor)
        self.streams = how != "sized"
        if how == "sized":
            self.out += OK + b"Content-Length: %d\r\n\r\n" % len(backlog) + backlog
            self.complete = True
            return
        if how == "1xx":
            self.out += b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        self.out += OK
        if how == "gzip":
            self.coder = zlib.compressobj(wbits=31)
            self.out += b"Content-Encoding: gzip\r\n"
        self.out += b"\r\n" if how == "close" else b"Transfer-Encoding: chunked\r\n\r\n"
        self.write(backlog)

    def write(self, data: bytes) -> None:
        if self.coder is not None:
            data = self.coder.compress(data) + self.coder.flush(zlib.Z_SYNC_FLUSH)
        if self.how == "close":
            self.out += data
            return
        extension = b";ignored=yes" if self.how == "padded" else b""
        for start in range(0, len(data), 50):
            chunk = data[start : start + 50]
            self.out += b"%x" % len(chunk) + extension + b"\r\n" + chunk + b"\r\n"

    def finish(self, *, more: bool = False) -> None:
        """End the body as HTTP says it ends; ``more`` bytes may follow, which nobody asked for."""
        self.streams = False
        self.complete = not more
        if self.coder is not None:
            tail = self.coder.flush()
            self.coder = None
            self.write(tail)
        if self.how not in ("close", "sized"):
            self.out += b"0\r\n\r\n" + b"bytes after the end" * more


class WireModel(RuleBasedStateMachine):
    """Draws any order of commands, bytes, failures and times; the book and the peers check it."""

    @initialize(
        heartbeat=st.booleans(),
        prepare=st.sampled_from([False, False, True]),
        admission=st.sampled_from([False, False, True]),
        reuse=st.booleans(),
        until=st.booleans(),
        on_end=st.sampled_from(["reconnect", "finish"]),
        include=st.sets(st.sampled_from(["connected", "comments", "ids"])),
        max_attempts=st.sampled_from([0, 3]),
        begun=st.sampled_from([True, True, True, False]),
    )
    def begin(
        self,
        heartbeat: bool,
        prepare: bool,
        admission: bool,
        reuse: bool,
        until: bool,
        on_end: Any,
        include: set[Include],
        max_attempts: int,
        begun: bool,
    ) -> None:
        self.spies = ExitStack()
        self.spies.enter_context(spied_parsers())
        self.until = until
        self.reuse = reuse
        self.finite = on_end == "finish"
        self.log = EventLog(with_stops=until)
        self.request = Request("GET", URL, (("Authorization", SECRET),))
        self.connection = ConnectionMachine(
            self.request,
            ConnectionConfig(
                reconnection=ReconnectionPolicy(max_attempts=max_attempts),
                heartbeat=HeartbeatConfig(enabled=heartbeat, interval=20, max_missed=2),
                limits=Limits(error_body=10, redirects=3, post_body=100),
                on_end=on_end,
            ),
            until=STOP if until else None,
            prepare=prepare,
            admission=admission,
            reuse=reuse,
            include=include,
        )
        self.machine = WireMachine(self.connection)
        self.book = Book(self.connection, self.log)
        self.sound = True
        self.now = 0.0
        self.newest = 0
        self.live: dict[int, Peer] = {}
        self.asked = 0
        self.preparing = 0
        self.given_up: list[int] = []  # closed while they were opening
        self.posts: list[object] = []
        self.paused = False
        self.reading = True
        if begun:
            self.tell(self.machine.connect)

    # --- Telling the machine, and reading its answer --------------------------------------------

    def tell(self, what: Callable[..., Sequence[Any]], *args: Any) -> Sequence[Any]:
        self.book.told(self.now)
        self.sound = False
        actions = what(*args, self.now)
        self.book.write(actions, self.work)
        return actions

    def work(self, action: Any) -> None:
        match action:
            case RequestAdmission(number):
                self.new_number(number)
                self.asked = number
            case PrepareRequest(_, number):
                if number == self.asked:
                    self.asked = 0
                else:
                    self.new_number(number)
                self.preparing = number
            case OpenTransport(number, origin):
                assert origin.host in ("example.com", "elsewhere.example")
                if number == self.preparing:
                    self.preparing = 0
                elif number == self.asked:
                    self.asked = 0
                else:
                    self.new_number(number)
                self.live[number] = Peer()
            case SendBytes(number, data):
                assert SECRET not in repr(action)
                peer = self.live[number]
                assert peer.opened
                assert not peer.path, "one transport carries one exchange"
                peer.writing = True
                peer.read(data)
            case CloseTransport(number):
                if number == self.preparing:
                    self.preparing = 0
                    return
                if number == self.asked:
                    self.asked = 0
                    return
                assert number in self.live, "closed once, and not what is gone by itself"
                if not self.live.pop(number).opened:
                    self.given_up.append(number)
            case KeepTransport(number, origin, seconds):
                assert self.reuse
                peer = self.live.pop(number)
                assert peer.complete, "only what has ended is kept"
                assert not peer.out, "and all of it was read"
                assert not peer.writing, "and written"
                assert peer.how not in ("close", *REFUSALS)
                assert origin.host in ("example.com", "elsewhere.example")
                assert seconds == 4.0
            case PauseTransport(number):
                assert self.reading
                assert number in self.live
                self.reading = False
            case ResumeTransport(number):
                assert not self.reading
                assert number in self.live
                self.reading = True
            case PostAnswered(token):
                self.posts.remove(token)
            case _:
                raise AssertionError(f"unexpected: {action}")

    def new_number(self, number: int) -> None:
        assert number > self.newest, "no number is used twice"
        self.newest = number

    @invariant()
    def holds(self) -> None:
        self.book.check()
        self.sound = True
        state = self.book.state
        stream = self.machine._stream
        sides = set(self.machine._sides or ())
        drain = self.machine._drain
        assert self.connection.draining is (drain is not None)
        # Nothing leaks, nothing is forgotten, and there is one stream at most.
        assert set(self.live) == sides | ({stream, drain and drain.number} - {0, None})
        if state is S.CONNECTED:
            assert self.reading is not self.paused
            assert self.live[stream].opened
        else:
            self.reading = True
            if state in ACTIVE:
                assert self.asked or self.machine.deadline is not None
            else:
                assert not stream
                assert not self.asked
                assert not self.preparing
        if state is S.CLOSED:
            assert not self.live
            assert not self.posts
        assert self.connection.metrics.events_received == self.book.counted["events"]
        assert self.connection.snapshot(self.now).errors == self.book.errors

    # --- Rules: most steps go on, or nothing would ever be reached that is worth disturbing -----

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """What a good network and a good server would do next."""
        state = self.book.state
        stream = self.live.get(self.machine._stream)
        drain = self.machine._drain
        if drain is not None and state is S.DISCONNECTED:
            self.drain_ends_well(drain.number)
        elif state in (S.DISCONNECTED, S.ERROR):
            self.tell(self.machine.connect)
        elif self.asked:
            self.tell(self.machine.admitted, self.asked, self.request)
            assert not self.asked
        elif self.preparing:
            self.prepared()
        elif stream is not None and not stream.opened:
            self.opened(self.machine._stream)
            if data.draw(st.booleans()):
                self.sent(self.machine._stream)
            if data.draw(st.booleans()):
                stream.answer(data.draw(st.sampled_from(STREAMS)), self.log)
                self.arrive(1, 100)
        elif stream is not None:
            if not stream.how and not stream.out:
                stream.answer(data.draw(st.sampled_from(STREAMS)), self.log)
            percent = data.draw(st.sampled_from([30, 60, 100, 101]))
            if percent > 100 and stream.streams and self.finite:
                stream.finish()
            self.arrive(1, min(percent, 100))
        elif state is S.RECONNECTING:
            self.tick(0.0)

    def streaming(self) -> bool:
        stream = self.live.get(self.machine._stream)
        return stream is not None and stream.opened

    @precondition(lambda self: self.streaming())
    @rule(publish=st.integers(0, 3), percent=st.integers(0, 100))
    def arrive(self, publish: int, percent: int) -> None:
        """The server says more, and some of what it has said arrives, cut anywhere."""
        number = self.machine._stream
        peer = self.live[number]
        self.publish(publish)
        if not self.reading:
            return  # nobody reads
        size = len(peer.out) * percent // 100
        self.feed(number, peer, size)
        if not peer.out and peer.ended and number == self.machine._stream:
            self.tell(self.machine.end_received, number)
            assert number not in self.live

    @rule(late=st.sampled_from([0.0, 0.0, 0.0, 0.5, 400.0]), patient=st.integers(0, 2))
    def time_comes(self, late: float, patient: int) -> None:
        """The time that the machine asked for; less often where it would end an attempt."""
        if self.book.state is S.CONNECTED or not patient:
            self.tick(late)

    @rule(data=st.data())
    def disturb(self, data: st.DataObject) -> None:
        """What a bad network, a bad server or the caller may do instead."""
        draw = data.draw
        number = self.machine._stream
        stream = self.live.get(number)
        possible: list[Callable[[], None]] = []
        if stream is not None:
            possible.append(lambda: self.fails(number))
            if stream.opened:
                possible += [lambda: self.ends(number)] * 2
                possible += [lambda: self.vandalise(stream)]
                if not stream.how and not stream.out:
                    possible += [lambda: self.refuse(stream, draw(REFUSED))] * 6
                if stream.streams:
                    possible += [stream.finish, lambda: stream.finish(more=True)]
            if stream.writing:
                possible.append(lambda: self.sent(number))
        if self.preparing:
            possible.append(self.prepare_fails)
        possible += [self.pause_or_resume, lambda: self.publish(2)]
        if self.book.state in ACTIVE:
            possible += [lambda: self.command(self.machine.restart)]
            possible += [lambda: self.command(self.machine.disconnect)]
            if self.log.published > 15:
                possible += [lambda: self.command(self.machine.close)]
        draw(st.sampled_from(possible))()

    @rule(data=st.data())
    def beside(self, data: st.DataObject) -> None:
        """Pings and posts."""
        draw = data.draw
        possible: list[Callable[[], None]] = []
        if self.book.state is not S.CLOSED and len(self.posts) < 3:
            possible.append(self.post)
        for number in self.machine._sides or ():
            possible += [partial(self.side_goes_on, number, draw)] * 3
            possible.append(partial(self.fails, number))
            if self.live[number].opened:
                possible.append(partial(self.ends, number))
        if self.posts:
            possible.append(self.abandon)
        if self.machine._drain is not None:
            possible += [partial(self.drain_goes_on, self.machine._drain.number, draw)] * 4
        if possible:
            draw(st.sampled_from(possible))()

    @rule(
        back=st.none() | st.integers(0, 30), seconds=st.sampled_from([-9.0, 0.0, 0.01, 1.0, 15.0])
    )
    def nothing_new(self, back: int | None, seconds: float) -> None:
        """Time, ticks and news that concern nobody."""
        if back is None:
            self.now = max(self.now, self.now + seconds)
            if self.machine.deadline is None or self.now < self.machine.deadline:
                assert not self.machine.tick(self.now + min(seconds, 0))
            return
        number = max(self.newest - back, 0)
        machine, now = self.machine, self.now
        if number in self.live:
            if self.live[number].opened:
                assert not machine.transport_opened(number, now)
            return
        assert not machine.bytes_sent(number, now)
        assert not machine.bytes_received(number, b"HTTP/1.1 200 OK\r\n\r\n", now)
        assert not machine.end_received(number, now)
        if number != self.asked:
            assert not machine.admitted(number, self.request, now)
        if number != self.preparing:
            assert not machine.transport_failed(number, OSError("stale"), now)
            # The one exception: what opens late would leak.
            assert machine.transport_opened(number, now) == [CloseTransport(number)]
            assert not machine.request_prepared(number, self.request, now)

    # --- What the rules are made of -------------------------------------------------------------

    def feed(self, number: int, peer: Peer, size: int) -> None:
        data, peer.out = peer.out[:size], peer.out[size:]
        before = self.book.state
        stream = number == self.machine._stream
        actions = self.tell(self.machine.bytes_received, number, data)
        if stream and before is S.CONNECTED and self.book.state is S.CONNECTED:
            parser = self.connection._parser
            assert isinstance(parser, SpyParser)
            assert actions is parser.latest, "the parser's own list is passed on"
            assert all(isinstance(action, EVENTS) for action in actions)

    def publish(self, count: int) -> None:
        block = self.log.publish(count)
        stream = self.live.get(self.machine._stream)
        if stream is not None and stream.streams:
            stream.write(block)

    def opened(self, number: int) -> None:
        self.live[number].opened = True
        actions = self.tell(self.machine.transport_opened, number)
        assert isinstance(actions[0], SendBytes)
        assert not self.machine.transport_opened(number, self.now)

    def sent(self, number: int) -> None:
        self.live[number].writing = False
        self.tell(self.machine.bytes_sent, number)

    def fails(self, number: int) -> None:
        del self.live[number]
        error = ConnectionResetError(f"by http://me:{SECRET}@example.com/?a={SECRET}")
        self.tell(self.machine.transport_failed, number, error)

    def ends(self, number: int) -> None:
        """The peer closes; what it has written before arrives first, or is lost."""
        self.live[number].ended = True
        if not self.live[number].out:
            self.tell(self.machine.end_received, number)

    def refuse(self, stream: Peer, how: str) -> None:
        stream.how = how
        stream.out += REFUSALS[how]
        stream.ended = stream.ended or how in ("500", "upgrade")

    def vandalise(self, stream: Peer) -> None:
        """Something breaks what is on its way; what came before it still counts."""
        stream.streams = False
        if stream.how in ("chunked", "1xx", "padded"):
            stream.out += b"zz\r\n"
        else:
            stream.ended = True

    def command(self, what: Callable[[float], Sequence[Any]]) -> None:
        self.tell(what)

    def pause_or_resume(self) -> None:
        self.paused = not self.paused
        self.tell(self.machine.pause if self.paused else self.machine.resume)

    def prepared(self) -> None:
        request = self.request
        if self.connection.received_event_id:
            request = request.with_header("Last-Event-ID", self.connection.received_event_id)
        self.tell(self.machine.request_prepared, self.preparing, request)
        assert not self.preparing

    def prepare_fails(self) -> None:
        self.tell(self.machine.prepare_failed, self.preparing, ValueError("no token"))
        assert not self.preparing

    def post(self) -> None:
        token = object()
        self.posts.append(token)
        self.tell(lambda now: self.machine.post(token, "/up", now, content=b"{}"))

    def abandon(self) -> None:
        self.tell(self.machine.abandon_post, self.posts.pop())

    def side_goes_on(self, number: int, draw: Callable[..., Any]) -> None:
        peer = self.live[number]
        if not peer.opened:
            self.opened(number)
            self.sent(number)
            assert peer.path in ("/ping", "/up")
            return
        if not peer.how:
            peer.how = draw(st.sampled_from(sorted(SIDES)))
            peer.out = SIDES[peer.how]
            peer.ended = peer.how == "close"
        size = draw(st.integers(1, len(peer.out))) if peer.out else 0
        self.feed(number, peer, size)
        if number in self.live and not peer.out and peer.ended:
            self.tell(self.machine.end_received, number)
            assert number not in self.live

    def drain_ends_well(self, number: int) -> None:
        peer = self.live[number]
        if peer.writing:
            self.sent(number)
        if peer.streams:
            peer.finish()
        if number in self.live:
            self.feed(number, peer, len(peer.out))

    def drain_goes_on(self, number: int, draw: Callable[..., Any]) -> None:
        """The rest of a body arrives, or does not, and the request may still be on its way."""
        peer = self.live[number]
        possible: list[Callable[[], None]] = [
            partial(self.fails, number),
            partial(self.ends, number),
        ]
        if peer.writing:
            possible += [partial(self.sent, number)] * 2
        if peer.streams:
            possible += [peer.finish] * 2
        if peer.out:
            size = draw(st.integers(1, len(peer.out)))
            possible += [partial(self.feed, number, peer, size)] * 4
        draw(st.sampled_from(possible))()

    def tick(self, late: float) -> None:
        if self.machine.deadline is not None:
            self.now = max(self.now, self.machine.deadline) + late
            for _ in range(6):  # a tick stops at the first death, and a post may be due as well
                self.tell(self.machine.tick)
            assert not self.machine.tick(self.now)

    def teardown(self) -> None:
        self.spies.close()
        if self.sound:  # else a failure is on its way already
            self.tell(self.machine.close)
            assert self.book.state is S.CLOSED
            assert not self.live, "every transport is closed or failed"
            assert not self.posts
            for number in self.given_up:
                late = self.machine.transport_opened(number, self.now)
                assert late == [CloseTransport(number)]


REFUSED = st.sampled_from(sorted(REFUSALS))

TestWireModel = WireModel.TestCase
TestWireModel.settings = settings(
    max_examples=max(500, settings().max_examples // 10), stateful_step_count=50
)
