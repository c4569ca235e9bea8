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
    Release,
    Request,
    RequestAdmission,
    Response,
    ResumeReading,
    Retry,
    SendPing,
    SendPost,
    Stop,
    Timer,
)

OK = Response(200, (("Content-Type", "text/event-stream"),))
STREAMS = [
    OK,
    OK,
    OK,
    Response(200, (("Content-Type", "text/event-stream"), ("X-Verdict", "accept"))),
]
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

ENDS = ["", "", "end", "lost"]
SECONDS = [-1000.0, -1.0, 0.0, 0.01, 1.0, 15.0]


def decide(response: Response, attempt: Attempt) -> Any:
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
            return "retry"
        case _:
            return None


class ConnectionModel(RuleBasedStateMachine):
    """Draws any order of commands, news and times; the book and the ledger of numbers check it."""

    @initialize(
        heartbeat=st.booleans(),
        prepare=st.booleans(),
        admission=st.sampled_from([False, False, True]),
        reuse=st.booleans(),
        until=st.booleans(),
        on_end=st.sampled_from(["reconnect", "finish"]),
        include=st.sets(st.sampled_from(["connected", "comments", "ids"])),
        max_attempts=st.sampled_from([0, 3]),
        error_body=st.sampled_from([0, 10]),
        random=st.floats(0, 1, exclude_max=True),
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
        error_body: int,
        random: float,
        begun: bool,
    ) -> None:
        self.spies = ExitStack()
        self.spies.enter_context(spied_parsers())
        self.prepare = prepare
        self.admission = admission
        self.reuse = reuse
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
            admission=admission,
            reuse=reuse,
            include=include,
        )
        self.book = Book(self.machine, self.log)
        self.sound = True
        self.now = 0.0
        self.newest = 0
        self.stream: int | None = None  # its number, while the machine has not given it up
        self.asked: int | None = None  # the number whose admission is waited for
        self.draining: int | None = None  # the number whose body is read to its end
        self.preparing = False
        self.redirecting = False
        self.wire = b""  # what the server has sent on the accepted stream and has not arrived
        self.ping: int | None = None
        self.posts: dict[int, object] = {}
        self.reading = True
        self.paused = False
        self.request: Request | None = None
        if begun:
            self.tell(self.machine.connect)

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
            case RequestAdmission(number):
                assert self.admission
                assert self.stream is None
                assert self.asked is None
                self.new_number(number)
                self.asked = number
            case PrepareRequest(request, number):
                assert self.prepare
                assert self.stream is None
                self.admitted_or_new(number)
                self.begun(request)
                self.stream, self.preparing = number, True
            case Connect(request, number):
                if self.preparing:
                    assert number == self.stream
                else:
                    assert self.stream is None, "never two exchanges for the stream"
                    self.admitted_or_new(number)
                    if not self.redirecting:
                        self.begun(request)
                self.stream, self.preparing = number, False
                self.request = request
            case Disconnect(number):
                if number == self.stream:
                    self.stream, self.preparing = None, False
                    self.wire = b""
                    self.reading = True
                elif number == self.asked:
                    self.asked = None
                elif number == self.draining:
                    self.draining = None
                elif number == self.ping:
                    self.ping = None
                else:
                    assert number in self.posts
            case Release(number):
                assert self.reuse
                assert self.book.state is S.CONNECTED
                assert number == self.stream
                assert self.draining is None, "one at a time"
                self.stream, self.draining = None, number
                self.wire = b""
                self.reading = True
            case SendPing(request, number):
                assert self.ping is None
                assert self.book.state is S.CONNECTED
                assert not self.paused
                assert request.header("Authorization") in (SECRET, SECRET + "2", None)
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

    def admitted_or_new(self, number: int) -> None:
        if self.asked is not None:
            assert number == self.asked
            self.asked = None
        else:
            assert not self.admission or self.redirecting, "nothing begins without being asked for"
            self.new_number(number)

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
        assert self.machine.draining is (self.draining is not None)
        if state is S.CONNECTED:
            assert self.stream is not None
            assert not self.preparing
            assert self.reading is not self.paused
        elif self.asked is not None:
            assert state in (S.CONNECTING, S.RECONNECTING)
            assert self.stream is None
            assert self.machine.reconnect_at is None
            assert self.posts or self.draining or self.machine.deadline is None
        elif state in ACTIVE:
            assert self.machine.deadline is not None
            assert self.machine.deadline_reason is not None
            if self.stream is None:
                assert state is S.RECONNECTING
                assert self.machine.reconnect_at is not None
        else:
            assert self.stream is None, "what is over has no exchange"
            assert self.asked is None
            assert self.ping is None
        if state is S.CLOSED:
            assert not self.posts
            assert self.draining is None
        self.sound = True
        book.check_counters()
        if "comments" in self.include and not self.until:
            counted = self.machine.snapshot(self.now)
            assert counted.comments_received == book.counted["comments"]

    # --- Rules: most steps go on, or nothing would ever be reached that is worth disturbing ------

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """What a good network and a good server would do next."""
        state = self.book.state
        if state in (S.DISCONNECTED, S.ERROR):
            self.tell(self.machine.connect)
            assert self.book.state in (S.CONNECTING, S.ERROR)
        elif self.asked is not None:
            self.admitted(keep_cursor=True)
        elif self.preparing:
            self.prepared(data.draw(st.sampled_from(["same", "renewed"])))
        elif self.refusing():
            self.error_body(data.draw(st.binary(max_size=12)), data.draw(st.sampled_from(ENDS)))
        elif state is S.CONNECTED:
            self.arrive(data.draw(st.integers(1, 5)), data.draw(st.integers(0, 99)))
        elif self.stream is not None:
            for step in data.draw(st.sampled_from([(), ("opened",), ("opened", "sent")])):
                self.request_progresses(step)
            self.accepted(data.draw(st.sampled_from(STREAMS)))
        elif state is S.RECONNECTING:
            self.tick(0.0)

    @precondition(lambda self: self.book.state is S.CONNECTED)
    @rule(publish=st.integers(0, 3), percent=st.integers(0, 99))
    def arrive(self, publish: int, percent: int) -> None:
        """The server says more, and some of what it has said arrives, cut anywhere."""
        self.wire += self.log.publish(publish)
        self.feed(self.wire[: len(self.wire) * (percent + 2) // 100])

    @rule(late=st.sampled_from([0.0, 0.0, 0.0, 0.5, 400.0]), patient=st.integers(0, 2))
    def time_comes(self, late: float, patient: int) -> None:
        """The time that the machine asked for; less often where it would end an attempt."""
        if not (self.waiting() or self.preparing) or not patient:
            self.tick(late)

    def tick(self, late: float) -> None:
        deadline = self.machine.deadline
        if deadline is None:
            return
        self.now = max(self.now, deadline) + late
        due = self.machine._next_due()
        # A late tick asks for one more before it blames the peer.
        actions = self.tell(self.machine.tick) or self.tell(self.machine.tick)
        if due is not None and due[0] <= self.now:
            assert actions or due[1] is Timer.STABILITY, "a due timer has a consequence"
        for _ in range(6):  # a tick stops at the first death, and a post may be due as well
            self.tell(self.machine.tick)
        assert not self.machine.tick(self.now)
        assert self.machine.deadline is None or self.machine.deadline > self.now

    @rule(data=st.data())
    def disturb(self, data: st.DataObject) -> None:
        """What a bad network, a bad server or the caller may do instead."""
        draw = data.draw
        active = self.book.state in ACTIVE
        possible: list[Callable[[], None]] = []
        if self.preparing:
            possible += [lambda: self.prepared(draw(st.sampled_from(["junk", "raised"])))] * 4
        elif self.stream is not None:
            possible += [lambda: self.cut(draw(st.sampled_from(["end", "lost", "failed"])))] * 4
        elif self.asked is not None:
            possible += [lambda: self.admitted(keep_cursor=False)] * 4
        if self.waiting() and not self.refusing():
            possible += [lambda: self.refused(draw(st.sampled_from(REFUSALS)))] * 4
            possible += [lambda: self.redirected(draw(st.sampled_from(REDIRECTS)))] * 4
            possible += [lambda: self.request_progresses(draw(st.sampled_from(["opened", "sent"])))]
            if self.log.published > 10:
                possible.append(lambda: self.stopped(draw(st.sampled_from(STOPS))))
        possible += [self.pause_or_resume, self.publish_unseen]
        if active:
            possible += [self.restart, self.disconnect]
            possible += [lambda: self.restart_at(draw(st.integers(0, 5)))]
            possible += [self.close] * (self.log.published > 20)  # nothing comes after it
        if self.book.state is S.CONNECTED or (active and self.stream is None):
            possible += [lambda: self.overflow(draw(st.integers(0, 3)))]
        draw(st.sampled_from(possible))()

    @rule(data=st.data())
    def beside(self, data: st.DataObject) -> None:
        """Pings and posts."""
        draw = data.draw
        possible: list[Callable[[], None]] = []
        if self.book.state is not S.CLOSED and len(self.posts) < 3:
            possible.append(self.post)
        if self.posts:
            possible.append(lambda: self.post_ends(draw(st.sampled_from([200, 500, None]))))
            possible.append(self.post_abandoned)
        if self.ping is not None:
            answers = st.sampled_from([200, 204, 500, None])
            possible += [lambda: self.pong(draw(answers))] * 4
        if self.draining is not None:
            possible.append(self.drained)
        if possible:
            draw(st.sampled_from(possible))()

    @rule(back=st.none() | st.integers(0, 30), seconds=st.sampled_from(SECONDS))
    def nothing_new(self, back: int | None, seconds: float) -> None:
        """Time, ticks and news that concern nobody."""
        if back is None:
            self.clock(seconds)
        else:
            self.stale(back)

    # --- What the rules are made of -------------------------------------------------------------

    def clock(self, seconds: float) -> None:
        """Time passes, or seems to go back; a tick without need does nothing."""
        if seconds < 0:
            due = self.machine._next_due()
            if due is None or due[0] > self.book.now:
                assert not self.machine.tick(self.book.now + seconds)
            return
        self.now += seconds
        if self.machine.deadline is None or self.now < self.machine.deadline:
            assert not self.machine.tick(self.now)
            self.book.told(self.now)

    def stale(self, back: int) -> None:
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
        if number != self.asked:
            answers.append(
                machine.admitted(number, Request("GET", "http://example.com/stale"), now)
            )
        if number != self.draining:
            answers.append(machine.drained(number, now))
        if number not in self.posts:
            answers.append(machine.post_answered(number, Response(200), b"", now))
            answers.append(machine.post_failed(number, OSError("stale"), now))
        self.book.told(now)
        assert not any(answers)
        assert machine.deadline == deadline

    def restart(self) -> None:
        self.tell(self.machine.restart)
        assert self.book.state in (S.CONNECTING, S.RECONNECTING, S.ERROR)

    def restart_at(self, number: int) -> None:
        number = min(number, self.log.published)
        self.book.aside, self.book.next = None, number + 1
        self.tell(lambda now: self.machine.restart(now, str(number or "")))

    def disconnect(self) -> None:
        self.tell(self.machine.disconnect)
        assert self.book.state is S.DISCONNECTED

    def close(self) -> None:
        self.tell(self.machine.close)
        assert self.book.state is S.CLOSED

    def pause_or_resume(self) -> None:
        self.paused = not self.paused
        self.tell(self.machine.pause if self.paused else self.machine.resume)
        assert not (self.machine.pause if self.paused else self.machine.resume)(self.now)

    def publish_unseen(self) -> None:
        """The server goes on while nobody listens."""
        block = self.log.publish(2)
        if self.book.state is S.CONNECTED:
            self.wire += block

    def overflow(self, refused: int) -> None:
        self.book.aside = None
        taken = max(self.book.next - 1 - refused, 0)
        self.book.next = taken + 1
        self.tell(self.machine.events_refused, str(taken or ""))
        assert self.book.state is S.ERROR
        assert self.machine.received_event_id == str(taken or "")

    def admitted(self, *, keep_cursor: bool) -> None:
        number = self.asked
        request = Request("GET", "http://example.com/events", (("Authorization", SECRET),))
        if not keep_cursor:
            self.book.aside, self.book.next = self.book.next, 1
        self.tell(
            lambda now: self.machine.admitted(number or 0, request, now, keep_cursor=keep_cursor)
        )
        assert self.stream == number
        assert self.preparing is self.prepare

    def drained(self) -> None:
        number, self.draining = self.draining, None
        assert not self.tell(self.machine.drained, number)

    def prepared(self, how: str) -> None:
        number = self.stream
        request = Request("GET", "http://example.com/events", (("Authorization", SECRET),))
        if self.machine.received_event_id:
            request = request.with_header("Last-Event-ID", self.machine.received_event_id)
        if how == "raised":
            self.tell(self.machine.prepare_failed, number, OSError(f"http://{SECRET}@a.example"))
        elif how == "junk":
            late = self.now >= self.machine._phase_at  # the timeout comes first
            self.tell(self.machine.request_prepared, number, None)
            assert late or self.book.state is S.ERROR
        else:
            if how == "renewed":
                request = request.with_header("Authorization", SECRET + "2")
            self.tell(self.machine.request_prepared, number, request)

    def waiting(self) -> bool:
        """Whether a request is on its way and no response has been accepted."""
        state = self.book.state
        return self.stream is not None and not self.preparing and state is not S.CONNECTED

    def refusing(self) -> bool:
        trying = self.machine._attempt
        return trying is not None and trying.refused is not None

    def request_progresses(self, step: str) -> None:
        if step == "opened":
            self.tell(self.machine.transport_opened, self.stream)
        else:
            self.tell(self.machine.request_sent, self.stream)
            assert self.machine.deadline_reason in (Timer.RESPONSE, Timer.POST, Timer.DRAIN)

    def accepted(self, response: Response) -> None:
        assert self.request is not None
        cursor = self.request.header("Last-Event-ID") or ""
        self.wire = self.log.after(cursor)
        self.tell(self.machine.response_received, self.stream, response)
        assert self.book.state is S.CONNECTED
        assert not self.machine.response_received(self.stream or 0, Response(404), self.now)

    def refused(self, response: Response) -> None:
        self.tell(self.machine.response_received, self.stream, response)
        assert self.book.state is not S.CONNECTED

    def redirected(self, response: Response) -> None:
        self.redirecting = True
        self.tell(self.machine.response_received, self.stream, response)

    def stopped(self, response: Response) -> None:
        self.book.counted["stops"] += 1
        self.tell(self.machine.response_received, self.stream, response)
        assert self.book.state is S.CLOSED

    def error_body(self, data: bytes, end: str) -> None:
        number = self.stream
        self.tell(self.machine.body_received, number, data)
        if self.stream == number and end == "end":
            self.tell(self.machine.body_ended, number)
        elif self.stream == number and end == "lost":
            self.tell(self.machine.connection_lost, number, ConnectionResetError())

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

    def cut(self, how: str) -> None:
        if how == "end":
            self.tell(self.machine.body_ended, self.stream)
        elif how == "lost":
            error = ConnectionResetError(f"by http://me:{SECRET}@example.com/?a={SECRET}")
            self.tell(self.machine.connection_lost, self.stream, error)
        else:
            self.tell(self.machine.connect_failed, self.stream, OSError("refused"))

    def post(self) -> None:
        token = object()
        [send] = self.machine.post(token, "/up", self.now, content=b"hi")
        assert isinstance(send, SendPost)
        self.book.told(self.now)
        self.work(send)
        self.posts[send.post] = token

    def post_ends(self, status: int | None) -> None:
        number = min(self.posts)
        before = self.machine.metrics.events_sent
        if status is None:
            self.tell(self.machine.post_failed, number, OSError("refused"))
        else:
            self.tell(self.machine.post_answered, number, Response(status), b"")
        assert number not in self.posts
        assert self.machine.metrics.events_sent == before + (status == 200)

    def post_abandoned(self) -> None:
        number = min(self.posts)
        self.book.told(self.now)
        assert self.machine.abandon_post(self.posts.pop(number), self.now) == [Disconnect(number)]

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

    def teardown(self) -> None:
        self.spies.close()
        if self.sound:  # else a failure is on its way already
            self.tell(self.machine.close)
            assert self.book.state is S.CLOSED
            assert self.stream is None
            assert self.asked is None
            assert self.draining is None
            assert self.ping is None
            assert not self.posts


TestConnectionModel = ConnectionModel.TestCase
TestConnectionModel.settings = settings(
    max_examples=max(500, settings().max_examples // 10), stateful_step_count=50
)
