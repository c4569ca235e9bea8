"""The connection machine against a model of what is alive, and a server that honours cursors."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from machine_book import ACTIVE, EVENTS, SECRET, STOP, Book, EventLog, S, SpyParser, spied_parsers
from sansio_sse import (
    Accept,
    Attempt,
    Connect,
    ConnectionConfig,
    ConnectionMachine,
    Disconnect,
    Fail,
    HeartbeatConfig,
    Include,
    Limits,
    PauseReading,
    PostAnswered,
    PrepareRequest,
    ReconnectionPolicy,
    Request,
    Response,
    ResumeReading,
    Retry,
    SendPing,
    SendPost,
    Stop,
    Timer,
    Verdict,
)

OK = Response(200, (("Content-Type", "text/event-stream"),))
STREAMS = [OK, OK, OK, Response(200, (("Content-Type", "text/event-stream"), ("X-Verdict", "accept")))]
REFUSALS = [
    *(Response(status) for status in (404, 408, 425, 500, 503)),
    Response(429, (("Retry-After", "2"),)),
    Response(200, (("Content-Type", "text/html"),)),
    Response(200, (("Content-Type", "text/event-stream"), ("Content-Encoding", "br"))),
    *(Response(401, (("X-Verdict", word),)) for word in ("retry", "fail", "raise", "junk")),
]
STOPS = [Response(204), Response(410, (("X-Verdict", "stop"),))]
REDIRECTS = [
    *(Response(status, (("Location", "/moved"),)) for status in (301, 302, 303, 307, 308)),
    Response(308, (("Location", "http://elsewhere.example/events"),)),
    Response(302),
    Response(301, (("Location", "file:///etc/passwd"),)),
]


def decide(response: Response, attempt: Attempt) -> Verdict | None:
    match response.header("X-Verdict"):
        case "accept":
            return Accept()
        case "retry":
            return Retry(delay=0.5)
        case "fail":
            return Fail()
        case "stop":
            return Stop()
        case "raise":
            raise ValueError("no idea")
        case "junk":
            junk: Any = "retry"
            return junk  # type: ignore[no-any-return]  # it is what the test is about
    return None


class ConnectionModel(RuleBasedStateMachine):
    """Draws any order of commands, news and times; the book and the ledger of numbers check it."""

    @initialize(
        heartbeat=st.booleans(),
        prepare=st.booleans(),
        until=st.booleans(),
        on_end=st.sampled_from(["reconnect", "finish"]),
        include=st.sets(st.sampled_from(["connected", "comments", "ids"])),
        max_attempts=st.sampled_from([0, 3]),
        error_body=st.sampled_from([0, 10]),
        random=st.floats(0, 1, exclude_max=True),
    )
    def begin(
        self,
        heartbeat: bool,
        prepare: bool,
        until: bool,
        on_end: Any,
        include: set[Include],
        max_attempts: int,
        error_body: int,
        random: float,
    ) -> None:
        self.spies = ExitStack()
        self.spies.enter_context(spied_parsers())
        self.prepare = prepare
        self.include = include
        self.until = until
        self.log = EventLog(with_stops=until)
        self.machine = ConnectionMachine(
            Request("GET", "http://example.com/events", (("Authorization", SECRET),)),
            ConnectionConfig(
                reconnection=ReconnectionPolicy(max_attempts=max_attempts),
                heartbeat=HeartbeatConfig(enabled=heartbeat, interval=20, max_missed=2),
                limits=Limits(error_body=error_body, redirects=3),
                on_end=on_end,
            ),
            random=lambda: random,
            until=STOP if until else None,
            decide=decide,
            prepare=prepare,
            include=include,
        )
        self.book = Book(self.machine, self.log)
        self.sound = True
        self.now = 0.0
        self.newest = 0
        self.stream: int | None = None  # its number, while the machine has not given it up
        self.preparing = False
        self.redirecting = False
        self.wire = b""  # what the server has sent on the accepted stream and has not arrived
        self.ping: int | None = None
        self.posts: dict[int, object] = {}
        self.reading = True
        self.paused = False
        self.request: Request | None = None

    # --- Telling the machine, and reading its answer ------------------------------------------

    def tell(self, what: Callable[..., Sequence[Any]], *args: Any) -> Sequence[Any]:
        self.book.told(self.now)
        before = self.machine.state
        self.sound = False
        actions = what(*args, self.now)
        if before is S.CLOSED:
            assert not actions
        self.book.write(actions, self.work)
        self.redirecting = False
        return actions

    def work(self, action: Any) -> None:
        match action:
            case PrepareRequest(request, number):
                assert self.prepare
                assert self.stream is None
                self.new_number(number)
                self.begun(request)
                self.stream, self.preparing = number, True
            case Connect(request, number):
                if self.preparing:
                    assert number == self.stream
                else:
                    assert self.stream is None, "never two exchanges for the stream"
                    self.new_number(number)
                    if not self.redirecting:
                        self.begun(request)
                self.stream, self.preparing = number, False
                self.request = request
            case Disconnect(number):
                if number == self.stream:
                    self.stream, self.preparing = None, False
                    self.wire = b""
                    self.reading = True
                elif number == self.ping:
                    self.ping = None
                else:
                    assert number in self.posts
            case SendPing(request, number):
                assert self.ping is None
                assert self.book.state is S.CONNECTED
                assert not self.paused
                assert request.header("Authorization") in (SECRET, None)
                self.new_number(number)
                self.book.counted["pings"] += 1
                self.ping = number
            case SendPost(_, number):
                self.new_number(number)
                self.posts[number] = object()
            case PostAnswered(token):
                numbers = [number for number, known in self.posts.items() if known is token]
                assert len(numbers) == 1, "each post is answered once"
                del self.posts[numbers[0]]
            case PauseReading():
                assert self.book.state is S.CONNECTED
                assert self.reading
                self.reading = False
            case ResumeReading():
                assert self.book.state is S.CONNECTED
                assert not self.reading
                self.reading = True
            case _:
                raise AssertionError(f"unexpected: {action}")

    def new_number(self, number: int) -> None:
        assert number > self.newest, "no number is used twice"
        self.newest = number

    def begun(self, request: Request) -> None:
        self.book.counted["attempts"] += 1
        self.book.counted["first attempts"] += self.book.state is S.CONNECTING
        cursor = request.header("Last-Event-ID") or ""
        assert cursor == self.machine.received_event_id

    @invariant()
    def holds(self) -> None:
        book = self.book
        book.check()
        state = book.state
        assert self.machine.paused is self.paused
        if state is S.CONNECTED:
            assert self.stream is not None
            assert not self.preparing
            assert self.reading is not self.paused
        elif state in ACTIVE:
            assert self.machine.deadline is not None
            assert self.machine.deadline_reason is not None
            if self.stream is None:
                assert state is S.RECONNECTING
                assert self.machine.reconnect_at is not None
        else:
            assert self.stream is None, "what is over has no exchange"
            assert self.ping is None
        if state is S.CLOSED:
            assert not self.posts
        self.sound = True
        book.check_counters()
        if "comments" in self.include and not self.until:
            counted = self.machine.snapshot(self.now)
            assert counted.comments_received == book.counted["comments"]

    # --- Commands ------------------------------------------------------------------------------

    @precondition(lambda self: self.book.state in (S.DISCONNECTED, S.ERROR))
    @rule()
    def connect(self) -> None:
        self.tell(self.machine.connect)
        assert self.book.state in (S.CONNECTING, S.ERROR)

    @precondition(lambda self: self.book.state in ACTIVE)
    @rule(word=st.sampled_from(["restart", "restart", "restart at", "disconnect", "close"]), at=st.integers(0, 5))
    def command(self, word: str, at: int) -> None:
        if word == "restart":
            self.tell(self.machine.restart)
            assert self.book.state in (S.CONNECTING, S.RECONNECTING)
        elif word == "restart at":
            at = min(at, self.log.published)
            self.book.next = at + 1
            self.tell(lambda now: self.machine.restart(now, str(at)))
        elif word == "disconnect":
            self.tell(self.machine.disconnect)
            assert self.book.state is S.DISCONNECTED
        elif self.book.next % 3 == 0:  # seldom: nothing comes after it
            self.tell(self.machine.close)
            assert self.book.state is S.CLOSED

    @rule()
    def pause_or_resume(self) -> None:
        self.paused = not self.paused
        self.tell(self.machine.pause if self.paused else self.machine.resume)
        assert not (self.machine.pause if self.paused else self.machine.resume)(self.now)

    @precondition(lambda self: self.book.state is not S.CLOSED and len(self.posts) < 3)
    @rule()
    def post(self) -> None:
        token = object()
        [send] = self.machine.post(token, "/up", self.now, content=b"hi")
        assert isinstance(send, SendPost)
        self.book.told(self.now)
        self.work(send)
        self.posts[send.post] = token

    # --- News ----------------------------------------------------------------------------------

    @precondition(lambda self: self.preparing)
    @rule(how=st.sampled_from(["same", "same", "same", "renewed", "junk", "raised"]))
    def prepared(self, how: str) -> None:
        number = self.stream
        request = Request("GET", "http://example.com/events", (("Authorization", SECRET),))
        if self.machine.received_event_id:
            request = request.with_header("Last-Event-ID", self.machine.received_event_id)
        if how == "raised":
            self.tell(self.machine.prepare_failed, number, OSError(f"http://{SECRET}@token.example"))
        elif how == "junk":
            self.tell(self.machine.request_prepared, number, None)
            assert self.book.state is S.ERROR
        else:
            if how == "renewed":
                request = request.with_header("Authorization", SECRET + "2")
            self.tell(self.machine.request_prepared, number, request)

    def waiting(self) -> bool:
        """Whether a request is on its way and no response has come."""
        state = self.book.state
        return self.stream is not None and not self.preparing and state is not S.CONNECTED

    @precondition(lambda self: self.waiting())
    @rule(opened=st.booleans(), sent=st.booleans())
    def request_progresses(self, opened: bool, sent: bool) -> None:
        if opened:
            self.tell(self.machine.transport_opened, self.stream)
        if sent:
            self.tell(self.machine.request_sent, self.stream)
            assert self.machine.deadline_reason in (Timer.RESPONSE, Timer.POST)

    @precondition(lambda self: self.waiting() and not self.refusing())
    @rule(response=st.sampled_from(STREAMS))
    def accepted(self, response: Response) -> None:
        assert self.request is not None
        cursor = self.request.header("Last-Event-ID") or ""
        self.wire = self.log.after(cursor)
        self.tell(self.machine.response_received, self.stream, response)
        assert self.book.state is S.CONNECTED
        assert not self.machine.response_received(self.stream or 0, Response(404), self.now)

    @precondition(lambda self: self.waiting() and not self.refusing())
    @rule(response=st.sampled_from(REFUSALS))
    def refused(self, response: Response) -> None:
        self.tell(self.machine.response_received, self.stream, response)
        assert self.book.state is not S.CONNECTED

    @precondition(lambda self: self.waiting() and not self.refusing())
    @rule(response=st.sampled_from(REDIRECTS))
    def redirected(self, response: Response) -> None:
        self.redirecting = True
        self.tell(self.machine.response_received, self.stream, response)

    @precondition(lambda self: self.waiting() and not self.refusing())
    @rule(response=st.sampled_from(STOPS), really=st.sampled_from([True, False, False, False]))
    def stopped(self, response: Response, really: bool) -> None:
        if really:
            self.book.counted["stops"] += 1
            self.tell(self.machine.response_received, self.stream, response)
            assert self.book.state is S.CLOSED

    def refusing(self) -> bool:
        trying = self.machine._attempt
        return trying is not None and trying.refused is not None

    @precondition(lambda self: self.refusing())
    @rule(data=st.binary(max_size=12), end=st.sampled_from(["", "", "end", "lost"]))
    def error_body(self, data: bytes, end: str) -> None:
        number = self.stream
        self.tell(self.machine.body_received, number, data)
        if self.stream == number and end == "end":
            self.tell(self.machine.body_ended, number)
        elif self.stream == number and end == "lost":
            self.tell(self.machine.connection_lost, number, ConnectionResetError())

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        block = self.log.publish(count)
        if self.book.state is S.CONNECTED:
            self.wire += block

    @precondition(lambda self: self.book.state is S.CONNECTED and self.wire)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(0, len(self.wire)) | st.just(len(self.wire)))
        self.feed(self.wire[:size])

    def feed(self, block: bytes) -> None:
        self.wire = self.wire[len(block) :]
        self.book.counted["bytes"] += len(block)
        parser = self.machine._parser
        assert isinstance(parser, SpyParser)
        actions = self.tell(self.machine.body_received, self.stream, block)
        if self.book.state is S.CONNECTED:
            assert actions is parser.latest, "the parser's own list is passed on"
            assert all(isinstance(action, EVENTS) for action in actions)
        else:
            assert self.until, "only a terminal event ends the stream in the middle of its body"
            assert self.book.state is S.DISCONNECTED

    @precondition(lambda self: self.stream is not None and not self.preparing)
    @rule(how=st.sampled_from(["end", "lost", "failed"]), retry=st.booleans())
    def cut(self, how: str, retry: bool) -> None:
        if how == "end":
            self.tell(self.machine.body_ended, self.stream)
        elif how == "lost":
            error = ConnectionResetError(f"by http://me:{SECRET}@example.com/?a={SECRET}")
            self.tell(self.machine.connection_lost, self.stream, error)
        else:
            self.tell(self.machine.connect_failed, self.stream, OSError("refused"))

    @precondition(lambda self: self.ping is not None)
    @rule(status=st.sampled_from([200, 204, 500, None]))
    def pong(self, status: int | None) -> None:
        number, self.ping = self.ping, None
        counters = self.machine.metrics.heartbeats
        assert counters is not None
        before = counters.succeeded, counters.failed
        if status is None:
            self.tell(self.machine.ping_failed, number, OSError("refused"))
        else:
            self.tell(self.machine.ping_answered, number, Response(status))
        good = status in (200, 204)
        assert (counters.succeeded, counters.failed) == (before[0] + good, before[1] + (not good))

    @precondition(lambda self: self.posts)
    @rule(status=st.sampled_from([200, 500, None]))
    def post_ends(self, status: int | None) -> None:
        number = min(self.posts)
        before = self.machine.metrics.events_sent
        if status is None:
            self.tell(self.machine.post_failed, number, OSError("refused"))
        else:
            self.tell(self.machine.post_answered, number, Response(status), b"")
        assert number not in self.posts
        assert self.machine.metrics.events_sent == before + (status == 200)

    @precondition(lambda self: self.book.state is not S.CLOSED)
    @rule(refused=st.integers(0, 3), really=st.sampled_from([True, False, False]))
    def overflow(self, refused: int, really: bool) -> None:
        if really:
            taken = max(self.book.next - 1 - refused, 0)
            self.book.next = taken + 1
            before = self.book.state
            self.tell(self.machine.events_refused, str(taken) if taken else "")
            assert self.book.state is (S.ERROR if before in ACTIVE else before)
            assert self.machine.received_event_id == (str(taken) if taken else "")

    @rule(back=st.integers(0, 60), news=st.integers(0, 11))
    def stale(self, back: int, news: int) -> None:
        """News about numbers that are over, never were, or are of another kind, changes nothing."""
        number = max(self.newest - back, 0)
        machine, now = self.machine, self.now
        deadline = machine.deadline
        stream = number == self.stream
        answers: list[Sequence[Any]] = []
        if not stream:
            answers = [
                machine.transport_opened(number, now),
                machine.request_sent(number, now),
                machine.response_received(number, OK, now),
                machine.body_received(number, b"data: stale\n\n", now),
                machine.body_ended(number, now),
                machine.connect_failed(number, OSError("stale"), now),
                machine.connection_lost(number, OSError("stale"), now),
            ]
        if not (stream and self.preparing):
            request = Request("GET", "http://example.com/stale")
            answers.append(machine.request_prepared(number, request, now))
            answers.append(machine.prepare_failed(number, OSError("stale"), now))
        if number != self.ping:
            answers.append(machine.ping_answered(number, Response(200), now))
            answers.append(machine.ping_failed(number, OSError("stale"), now))
        if number not in self.posts:
            answers.append(machine.post_answered(number, Response(200), b"", now))
            answers.append(machine.post_failed(number, OSError("stale"), now))
        self.book.told(now)
        assert not any(answers)
        assert machine.deadline == deadline

    # --- Time ----------------------------------------------------------------------------------

    @precondition(lambda self: self.machine.deadline is not None)
    @rule(late=st.sampled_from([0.0, 0.0, 0.0, 0.5, 400.0]))
    def tick_when_asked(self, late: float) -> None:
        deadline = self.machine.deadline
        assert deadline is not None
        self.now = max(self.now, deadline) + late
        due = self.machine._next_due()
        actions = self.tell(self.machine.tick)
        if due is not None and due[0] <= self.now:
            assert actions or due[1] is Timer.STABILITY, "a due timer has a consequence"
        for _ in range(2):  # a tick stops at the first death, and a post may be due as well
            self.tell(self.machine.tick)
        assert not self.machine.tick(self.now)
        assert self.machine.deadline is None or self.machine.deadline > self.now

    @rule(seconds=st.sampled_from([0.0, 0.01, 1.0, 15.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        deadline = self.machine.deadline
        if deadline is None or self.now < deadline:
            assert not self.machine.tick(self.now)
            self.book.told(self.now)

    @rule(seconds=st.sampled_from([1.0, 1000.0]))
    def clock_goes_back(self, seconds: float) -> None:
        due = self.machine._next_due()
        if due is None or due[0] > self.book.now:
            assert not self.machine.tick(self.now - seconds)

    def teardown(self) -> None:
        self.spies.close()
        if self.sound:  # else a failure is on its way already
            self.tell(self.machine.close)
            assert self.book.state is S.CLOSED
            assert self.stream is None
            assert self.ping is None
            assert not self.posts


TestConnectionModel = ConnectionModel.TestCase
TestConnectionModel.settings = settings(
    max_examples=max(300, settings().max_examples // 10), stateful_step_count=50
)
