"""One stream over several endpoints: by example, and any history of it."""

from collections.abc import Sequence
from math import inf
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from machine_book import ACTIVE
from machine_play import STREAM, Play, S, configured
from sansio_sse import (
    Attempt,
    BufferOverflow,
    CloseTransport,
    Connect,
    Connected,
    ConnectError,
    Disconnect,
    ErrorOccurred,
    EventTooLarge,
    Fail,
    HTTPStatusError,
    LocalProtocolError,
    OpenTransport,
    PauseReading,
    PrepareRequest,
    ReconnectExhausted,
    Request,
    Response,
    Retry,
    ScheduleReconnect,
    SendPing,
    ServerSentEvent,
    TLSError,
    WireMachine,
)
from sansio_sse.config import BreakerConfig, Endpoint
from sansio_sse.endpoints import BreakerState, EndpointStats
from sansio_sse.failover import FailoverMachine

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
EVENT = b"id: 1\ndata: hello\n\n"
QUICK = BreakerConfig(failures=1, successes=1, open_for=20, failback_after=30)


def endpoint(name: str, priority: int = 0, domain: str | None = None) -> Endpoint:
    return Endpoint(f"http://{name}.example/events", 1.0, priority, domain)


A, B = endpoint("a"), endpoint("b", 1)
OTHER = endpoint("other", 2, "other")


class Over(Play):
    """A stream over endpoints, played by hand."""

    def __init__(
        self,
        *places: Endpoint,
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        machine: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__()
        self.failover = FailoverMachine(
            [Request(method, place.url, headers) for place in places],
            places,
            configured(**config),
            **(machine or {}),
        )
        self.machine = self.failover

    @property
    def where(self) -> str:
        """The endpoint of the latest request."""
        return (urlsplit(self.request.url).hostname or "").removesuffix(".example")

    @property
    def cursor(self) -> str | None:
        """The event id in the latest request."""
        return self.request.header("Last-Event-ID")

    @property
    def stats(self) -> Sequence[EndpointStats]:
        return self.failover.endpoints

    def goes_on(self) -> "Over":
        """Let the time of the next attempt come."""
        assert self.machine.reconnect_at is not None
        self.now = self.machine.reconnect_at
        self.tell("tick")
        return self

    def dies(self) -> None:
        """The stream is cut, and where it came from does not answer any more."""
        self.lost()
        self.goes_on().failed()

    def waits(self, seconds: float) -> None:
        """Let time pass in which nothing is due."""
        assert not self.after(seconds)


# --- Elsewhere ---------------------------------------------------------------------------------


def test_the_first_endpoint_by_priority_is_taken() -> None:
    play = Over(B, endpoint("c", 2), A)
    play.connect()
    assert play.where == "a"
    assert play.state is S.CONNECTING
    assert [stats.streams for stats in play.stats] == [0, 0, 1]
    assert [stats.connecting for stats in play.stats] == [0, 0, 1]


def test_endpoints_of_equal_priority_are_taken_in_turn() -> None:
    play = Over(endpoint("a"), endpoint("b"))
    taken: list[str] = []
    for _ in range(4):
        play.connect()
        taken.append(play.where)
        play.tell("disconnect")
    assert taken == ["a", "b", "a", "b"]


@pytest.mark.parametrize("until", [None, "[DONE]"])  # one event is looked at, or all
def test_a_stream_that_is_cut_after_events_goes_on_where_it_was(until: str | None) -> None:
    play = Over(A, B, machine={"until": until}).accepted(body=EVENT)
    play.body(EVENT)
    play.lost()  # a server that rotates its streams, for one
    assert play.goes_on().where == "a"


@pytest.mark.parametrize("how", ["refused", "500", "dropped", "silent"])
def test_the_attempt_after_a_failure_goes_elsewhere(how: str) -> None:
    play = Over(A, B)
    play.connect()
    match how:
        case "refused":
            play.failed()
        case "500":
            play.refused(500)
        case "lost":
            play.accepted(body=EVENT).lost()
        case _:
            play.accepted(body=EVENT)
            play.due()
    assert play.state is S.RECONNECTING
    assert len(play.said(ScheduleReconnect)) == 1, "the delay is that of any retry"
    play.goes_on()
    assert play.where == "b"
    # And from there to the first again: whoever failed last is the one to avoid.
    play.failed()
    play.goes_on()
    assert play.where == "a"


def test_each_endpoint_has_its_turn_before_any_is_tried_again() -> None:
    play = Over(A, B, endpoint("c", 2), endpoint("d", 3))
    play.connect()
    taken: list[str] = []
    for _ in range(8):
        taken.append(play.where)
        play.failed()
        play.goes_on()
    assert taken == ["a", "b", "c", "d"] * 2


def test_where_there_is_no_elsewhere_the_same_one_is_tried_again() -> None:
    play = Over(A)
    play.connect()
    play.failed()
    assert play.goes_on().where == "a"


def test_the_url_of_each_endpoint_is_its_own_and_so_is_what_decide_is_told() -> None:
    told: list[str | None] = []

    def decide(response: Response, attempt: Attempt) -> None:
        told.append(attempt.endpoint)

    play = Over(A, B, machine={"decide": decide})
    play.connect()
    play.refused(503)
    play.goes_on().accepted()
    assert told == ["http://a.example", "http://b.example"]


def test_an_attempt_is_prepared_with_the_request_of_its_endpoint() -> None:
    play = Over(A, B, machine={"prepare": True})
    play.connect()
    [prepare] = play.said(PrepareRequest)
    assert prepare.request.url == A.url
    play.tell("request_prepared", play.stream, prepare.request)
    play.failed()
    play.goes_on()
    assert [prepare.request.url for prepare in play.said(PrepareRequest)] == [B.url]


def test_a_request_that_could_not_be_prepared_is_nobodys_fault() -> None:
    play = Over(A, machine={"prepare": True}, breaker=QUICK)
    play.connect()
    play.tell("prepare_failed", play.stream, OSError("no token"))
    assert play.state is S.RECONNECTING
    play.goes_on()
    play.due()  # and this time it takes too long
    assert play.state is S.RECONNECTING
    [stats] = play.stats
    assert (stats.breaker, stats.attempts, stats.failures) == (CLOSED, 2, 0)
    assert (stats.connecting, stats.streams, stats.last_error) == (0, 0, None)
    play.goes_on()
    play.tell("request_prepared", play.stream, None)
    assert play.changes == [S.ERROR], "a fault of ours is one at every endpoint"


def test_nobody_else_admits_its_attempts() -> None:
    play = Over(A, B)
    for _ in range(2):
        assert not play.tell("admitted", play.stream, Request("GET", "http://x.example/"))
        play.connect() if play.state is S.DISCONNECTED else None
    assert play.where == "a"


# --- And back ----------------------------------------------------------------------------------


def on_the_backup(**options: Any) -> Over:
    """A stream that lost the first endpoint after an event, and has one event of the second."""
    options.setdefault("machine", {"include": ["connected"]})
    play = Over(A, B, **options)
    play.accepted(body=EVENT).dies()
    play.goes_on().accepted(body=b"id: 2\ndata: two\n\n")
    assert play.where == "b"
    return play


def test_it_returns_after_healthy_seconds_and_goes_on_where_it_was() -> None:
    play = on_the_backup()
    assert play.waits_for == ("FAILBACK", 30.0)
    play.waits(29.9)
    left = play.stream
    play.due()
    assert [type(action) for action in play.answer[:1]] == [Disconnect]
    assert play.answer[0] == Disconnect(left)
    assert play.changes == [S.RECONNECTING]
    assert not play.said(ErrorOccurred), "nothing went wrong"
    assert (play.where, play.cursor) == ("a", "2")
    play.accepted()
    [connected] = play.said(Connected)
    assert connected.resumed
    assert [stats.streams for stats in play.stats] == [1, 0]
    assert play.machine.deadline_reason is not None
    assert play.machine.deadline_reason.name != "FAILBACK", "it is where it should be"


def test_what_was_broken_is_tried_out_once_its_breaker_allows_it() -> None:
    breaker = BreakerConfig(failures=1, successes=2, open_for=100, failback_after=30)
    play = Over(A, B, breaker=breaker)
    play.connect()
    play.failed()
    began = play.now
    assert play.stats[0].breaker is OPEN
    play.goes_on().accepted(body=EVENT)
    assert play.waits_for == ("FAILBACK", round(began + 100 - play.now, 6))
    play.due()
    assert play.where == "a"
    assert play.stats[0].breaker is HALF_OPEN
    play.accepted(body=b"data: back\n\n")
    assert play.stats[0].breaker is CLOSED, "accepted, and it gave something"


def test_a_trial_that_fails_leads_back_to_the_backup_with_the_cursor() -> None:
    play = on_the_backup(breaker=QUICK)
    play.after(30)
    assert (play.where, play.cursor) == ("a", "2")
    play.failed()
    assert play.stats[0].breaker is OPEN
    play.goes_on()
    assert (play.where, play.cursor) == ("b", "2")
    play.accepted(body=b"id: 3\ndata: three\n\n")
    assert play.events == ["three"]
    assert play.waits_for == ("FAILBACK", 30.0)


def test_the_backup_is_not_left_for_one_that_said_no() -> None:
    play = Over(A, B)
    play.connect()
    play.refused(404)
    play.goes_on().accepted(body=EVENT)
    assert play.where == "b"
    for _ in range(10):
        play.body(b":\n\n")
        play.waits(200)


def test_a_stream_with_an_end_stays_where_it_is() -> None:
    kinds: list[dict[str, Any]] = [
        {"machine": {"until": "stop"}},
        {"on_end": "finish"},
        {"method": "POST", "on_end": "reconnect"},
    ]
    for options in kinds:
        play = Over(A, B, idle=500, **options)
        play.connect()
        play.failed()
        play.goes_on().accepted(body=EVENT)
        assert play.where == "b"
        play.waits(400)
    # The last one has no end, but an effect: a key makes it safe to ask for it twice.
    play = Over(A, B, method="POST", on_end="reconnect", headers=(("Idempotency-Key", "k"),))
    play.connect()
    play.failed()
    play.goes_on().accepted(body=EVENT)
    assert play.waits_for == ("FAILBACK", 30.0)


def test_a_pause_lasts_over_the_way_back() -> None:
    play = on_the_backup(breaker=QUICK)
    play.tell("pause")
    play.after(30)
    assert play.where == "a"
    play.accepted()
    assert play.said(PauseReading)
    assert play.machine.paused


def test_pings_go_to_the_endpoint_of_the_stream_and_their_loss_counts_against_it() -> None:
    play = Over(A, B, pings=True, interval=5, timeout=1, max_missed=1, breaker=QUICK)
    play.accepted(body=EVENT)
    play.after(5)
    [ping] = play.said(SendPing)
    assert ping.request.url == "http://a.example/ping"
    play.after(1)
    assert play.state is S.RECONNECTING
    assert play.stats[0].breaker is OPEN
    play.goes_on().accepted(body=EVENT)
    play.after(5)
    assert [ping.request.url for ping in play.said(SendPing)] == ["http://b.example/ping"]


# --- Whose ids ---------------------------------------------------------------------------------


def test_an_id_never_goes_to_another_domain() -> None:
    play = Over(A, OTHER, machine={"include": ["connected"]})
    play.accepted(body=EVENT).dies()
    play.goes_on()
    assert (play.where, play.cursor) == ("other", None)
    play.accepted(body=b"id: x\ndata: other\n\n")
    assert not play.said(Connected), "the answer to the body"
    assert [a.resumed for a in play.history if isinstance(a, Connected)] == [False, False]
    play.lost()
    play.goes_on()
    assert (play.where, play.cursor) == ("a", None)
    assert play.machine.received_event_id == ""


def test_an_attempt_elsewhere_that_comes_to_nothing_costs_no_cursor() -> None:
    play = Over(A, OTHER, machine={"include": ["connected"]})
    play.accepted(body=EVENT).dies()
    play.goes_on()
    assert (play.where, play.cursor) == ("other", None)
    play.failed()
    assert play.machine.received_event_id == "1"
    play.goes_on()
    assert (play.where, play.cursor) == ("a", "1")
    play.accepted()
    assert [connected.resumed for connected in play.said(Connected)] == [True]


def test_a_trial_in_another_domain_that_fails_costs_no_cursor() -> None:
    first = endpoint("first", -1, "first")
    play = Over(A, first)
    play.accepted(body=EVENT)
    assert play.where == "first"
    play.dies()
    play.goes_on().accepted(body=b"id: 7\ndata: seven\n\n")
    assert play.where == "a"
    play.due()
    assert (play.where, play.cursor) == ("first", None)
    play.failed()
    play.goes_on()
    assert (play.where, play.cursor) == ("a", "7")


def test_endpoints_of_one_domain_share_their_ids() -> None:
    play = Over(endpoint("x", 0, "d"), endpoint("y", 1, "d"))
    play.accepted(body=EVENT).dies()
    play.goes_on()
    assert (play.where, play.cursor) == ("y", "1")


def test_the_cursor_one_begins_with_is_the_first_endpoints() -> None:
    play = Over(OTHER, A, machine={"last_event_id": "9"})
    play.connect()
    assert (play.where, play.cursor) == ("a", None)
    play.failed()
    play.goes_on()
    assert (play.where, play.cursor) == ("other", "9")


def test_a_restart_with_a_cursor_is_obeyed_where_that_cursor_is_known() -> None:
    play = Over(A, B)
    play.accepted(body=EVENT)
    play.tell("restart", last_event_id="5")
    assert (play.where, play.cursor) == ("a", "5")
    # In the middle of an attempt in another domain it replaces the one that was put aside.
    play = Over(A, OTHER)
    play.accepted(body=EVENT).dies()
    play.goes_on()
    assert play.where == "other"
    play.tell("restart", last_event_id="5")
    play.failed()
    play.goes_on()
    assert (play.where, play.cursor) == ("a", "5")


# --- For good ----------------------------------------------------------------------------------


def test_what_fails_for_good_at_one_endpoint_is_tried_at_the_others() -> None:
    play = Over(A, B, endpoint("c", 2))
    play.connect()
    for there, further in (("a", True), ("b", True), ("c", False)):
        assert play.where == there
        play.refused(404, body=there.encode())
        if further:
            play.goes_on()
    assert play.state is S.ERROR
    error = play.machine.error
    assert isinstance(error, HTTPStatusError)
    assert (error.status, error.body, error.url) == (404, b"c", "http://c.example/events")
    # A new beginning is one for all of them.
    play.connect()
    assert play.where == "a"
    assert play.changes == [S.CONNECTING]


def test_a_certificate_that_does_not_verify_is_no_reason_to_give_up_elsewhere() -> None:
    play = Over(A, B)
    play.connect()
    play.failed(TLSError("does not verify", retryable=False))
    assert play.goes_on().where == "b"
    play.failed(ConnectError("refused"))
    assert play.goes_on().where == "b", "what failed for good is not tried again"


def test_a_failure_for_good_is_forgiven_once_a_stream_has_lasted() -> None:
    play = Over(A, B, reset_interval=300, idle=0)
    for lived, where in ((299, "b"), (300, "a")):
        play.connect()
        play.refused(404)
        play.goes_on().accepted(body=EVENT)
        play.after(lived)
        play.lost()
        assert play.goes_on().where == where
        play.tell("disconnect")


def test_an_event_that_is_too_large_everywhere_is_an_error_and_no_endless_circle() -> None:
    play = Over(A, B, event=50)
    play.accepted(body=EVENT + b"data: " + b"x" * 100)
    assert isinstance(play.error, EventTooLarge)
    play.goes_on().accepted(body=EVENT + b"data: " + b"x" * 100)
    assert isinstance(play.error, EventTooLarge)
    assert play.changes == [S.ERROR]


def test_a_fault_of_ours_is_one_at_every_endpoint() -> None:
    play = Over(A, B).accepted(body=EVENT)
    play.tell("events_refused", "")
    assert play.state is S.ERROR
    assert isinstance(play.machine.error, BufferOverflow)
    # The same while an attempt is waited for, when there is no endpoint that could be named.
    play = Over(A, B)
    play.accepted(body=EVENT).lost()
    play.tell("events_refused", "")
    assert play.state is S.ERROR
    assert [stats.lost for stats in play.stats] == [1, 0]


def test_retries_are_used_up_over_all_endpoints_together() -> None:
    play = Over(A, B, max_attempts=3)
    play.connect()
    for _ in range(3):
        play.failed()
        play.goes_on()
    play.failed()
    assert isinstance(play.machine.error, ReconnectExhausted)
    assert [stats.failures for stats in play.stats] == [2, 2]


def test_retries_may_be_switched_off() -> None:
    play = Over(A, B, retries=False)
    play.connect()
    play.failed()
    assert play.state is S.ERROR


def test_a_server_that_says_stop_is_obeyed() -> None:
    play = Over(A, B)
    play.connect()
    play.respond(204)
    assert play.state is S.CLOSED
    assert [(stats.streams, stats.connecting) for stats in play.stats] == [(0, 0), (0, 0)]


def test_what_is_out_of_order_changes_nothing() -> None:
    play = Over(A, B)
    play.connect()
    play.refused(404)
    with pytest.raises(LocalProtocolError):
        play.connect()
    play.goes_on()
    play.failed()
    assert play.goes_on().where == "b", "the first has still failed for good"


# --- What may have had an effect ---------------------------------------------------------------


def post(*places: Endpoint, **options: Any) -> Over:
    play = Over(*places, method="POST", replay="always", **options)
    play.connect()
    return play


def test_a_post_that_was_not_sent_may_go_anywhere() -> None:
    play = post(A, OTHER)
    play.failed()
    assert play.goes_on().where == "other"


@pytest.mark.parametrize("status", [425, 429, 503])
def test_a_post_that_was_declined_may_go_anywhere(status: int) -> None:
    play = post(A, OTHER)
    play.tell("request_sent", play.stream)
    play.refused(status)
    assert play.goes_on().where == "other"


@pytest.mark.parametrize("how", ["sent", "500", "accepted", "redirected", "moved"])
def test_a_post_that_may_have_had_an_effect_stays_in_its_domain(how: str) -> None:
    play = post(A, OTHER, B)
    play.tell("request_sent", play.stream)
    match how:
        case "500":
            play.refused(500)
        case "accepted":
            play.accepted().lost()
        case "redirected" | "moved":
            play.respond(303 if how == "redirected" else 301, ("Location", "/result"))
            assert play.request.method == "GET"
            play.lost()
        case _:
            play.lost()
    for where in ("b", "a", "b"):
        assert play.goes_on().where == where
        play.failed()
    # A new beginning is the caller's own decision.
    play.tell("disconnect")
    play.connect()
    taken = [play.where]
    for _ in range(2):
        play.failed()
        taken.append(play.goes_on().where)
    assert "other" in taken


def test_a_post_that_failed_for_good_where_alone_it_may_go_is_an_error() -> None:
    play = post(A, OTHER)
    play.accepted().lost()
    assert play.goes_on().where == "a"
    play.refused(404)
    assert play.state is S.ERROR
    assert isinstance(play.machine.error, HTTPStatusError)


def test_a_post_without_ids_is_not_repeated_at_a_replica_either() -> None:
    play = Over(A, B, method="POST")
    play.connect()
    play.tell("request_sent", play.stream)
    play.lost()
    assert play.state is S.ERROR


def test_a_post_takes_no_id_into_another_domain_and_none_back() -> None:
    play = post(A, OTHER)
    play.tell("disconnect")
    play.accepted(body=EVENT)
    play.tell("disconnect")
    play.connect()
    assert (play.where, play.cursor) == ("a", "1")
    play.failed()
    assert (play.goes_on().where, play.cursor) == ("other", None)
    play.accepted().lost()
    assert (play.goes_on().where, play.cursor) == ("other", None)


# --- Nothing lets anything through -------------------------------------------------------------


def all_open() -> Over:
    """A failed 20 seconds ago, B now: the first to be tried again is A, in 20 seconds."""
    play = Over(A, B, breaker=BreakerConfig(failures=1, open_for=40), initial_delay=20)
    play.connect()
    play.failed()
    play.goes_on()
    play.failed()
    began = play.now
    play.now += 1
    play.tell("restart")
    assert [stats.breaker for stats in play.stats] == [OPEN, OPEN]
    assert play.machine.reconnect_at == began + 20
    assert play.waits_for == ("RECONNECT", 19.0)
    return play


def test_it_waits_until_the_first_breaker_lets_something_through() -> None:
    play = all_open()
    assert not play.said(Connect)
    play.waits(18.9)
    attempts = play.metrics.connect_attempts + play.metrics.reconnect_attempts
    play.goes_on()
    assert play.where == "a"
    assert play.stats[0].breaker is HALF_OPEN
    assert play.metrics.connect_attempts + play.metrics.reconnect_attempts == attempts + 1


@pytest.mark.parametrize("command", ["disconnect", "close"])
def test_what_ends_while_it_waits_takes_nothing_back(command: str) -> None:
    play = all_open()
    play.tell(command)
    assert not play.said(Disconnect), "there was nothing under way"
    assert len(play.answer) == 1
    assert play.machine.deadline is None
    assert [(stats.streams, stats.connecting) for stats in play.stats] == [(0, 0), (0, 0)]


def test_a_restart_while_it_waits_waits_on() -> None:
    play = all_open()
    play.tell("restart", last_event_id="5")
    assert not play.answer
    assert play.waits_for == ("RECONNECT", 19.0)
    play.goes_on()
    assert (play.where, play.cursor) == ("a", "5")


def test_a_first_connect_may_have_to_wait_too() -> None:
    play = all_open()
    play.tell("disconnect")
    play.connect()
    assert play.state is S.CONNECTING
    assert play.waits_for == ("RECONNECT", 19.0)
    play.goes_on()
    assert play.state is S.CONNECTING
    assert play.where == "a"


def test_a_refused_buffer_while_it_waits_is_final() -> None:
    play = all_open()
    play.tell("events_refused", "")
    assert play.state is S.ERROR
    assert play.metrics.connect_failures + play.metrics.reconnect_failures == 2


def test_in_bytes_it_is_the_same() -> None:
    play = all_open()
    wire = WireMachine(play.machine)
    assert not [a for a in wire.disconnect(play.now) if isinstance(a, CloseTransport)]
    wire.connect(play.now)
    [opening] = [a for a in wire.tick(play.now + 19) if isinstance(a, OpenTransport)]
    assert opening.origin.host == "a.example"


# --- Any history -------------------------------------------------------------------------------


def decide(response: Response, attempt: Attempt) -> Any:
    assert attempt.endpoint is not None
    match response.header("X-Verdict"):
        case "retry":
            return Retry(delay=1.0)
        case "fail":
            return Fail()
        case _:
            return None


ANSWERS = [
    *(Response(code) for code in (404, 429, 500, 503)),
    *(Response(401, (("X-Verdict", word),)) for word in ("retry", "fail")),
    Response(302, (("Location", "/moved"),)),
    Response(303, (("Location", "/result"),)),
    Response(308, (("Location", "/forever"),)),
]
PLACES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([None, None, "x", "y"])), min_size=1, max_size=4
)


class AnyHistory(RuleBasedStateMachine):
    """Draws what networks, servers, callers and clocks do; each domain has ids of its own."""

    @initialize(
        places=PLACES,
        method=st.sampled_from(["GET", "GET", "POST"]),
        prepare=st.booleans(),
        until=st.sampled_from([None, None, "stop"]),
        breaker=st.builds(
            BreakerConfig,
            failures=st.integers(1, 2),
            successes=st.integers(1, 3),
            open_for=st.sampled_from([0, 5, 60]),
            failback_after=st.sampled_from([0, 30]),
        ),
        pings=st.booleans(),
        replay=st.sampled_from(["safe", "always"]),
    )
    def begin(
        self,
        places: list[tuple[int, str | None]],
        method: str,
        prepare: bool,
        until: str | None,
        breaker: BreakerConfig,
        pings: bool,
        replay: Any,
    ) -> None:
        self.places = [
            Endpoint(f"http://{index}.example/events", 1.0, priority, domain)
            for index, (priority, domain) in enumerate(places)
        ]
        self.machine = FailoverMachine(
            [Request(method, place.url) for place in self.places],
            self.places,
            configured(
                breaker=breaker,
                pings=pings,
                event=200,
                interval=8,
                max_missed=1,
                max_attempts=0,
                on_end="reconnect",
                replay=replay,
            ),
            prepare=prepare,
            until=until,
            decide=decide,
        )
        self.method = method
        self.returns = method == "GET" and until is None
        self.now = 0.0
        self.newest = 0
        self.stream = 0
        self.place = -1
        self.preparing = False
        self.sent = False
        self.ping = 0
        self.count = 0
        self.domain = self.places[0].cursor_domain  # whose the cursor is
        self.last_id = ""
        self.bound: tuple[str | None] | None = None  # the domain where a POST may have had effect
        self.tell("connect")

    # --- Telling, and reading ------------------------------------------------------------------

    def tell(self, news: str, *arguments: Any, **options: Any) -> Sequence[Any]:
        answer: Sequence[Any] = getattr(self.machine, news)(*arguments, self.now, **options)
        for action in answer:
            match action:
                case PrepareRequest(request, number):
                    self.new(number, request)
                    self.preparing = True
                    self.sent = False
                case Connect(request, number):
                    if not (self.preparing and number == self.stream):
                        redirected = news == "response_received"
                        self.new(number, None if redirected else request)
                    self.preparing = False
                    self.sent = False
                case Disconnect(number):
                    assert number in (self.stream, self.ping), "only what is under way is ended"
                    if number == self.stream:
                        self.stream = 0
                        self.preparing = False
                    else:
                        self.ping = 0
                case SendPing(request, number):
                    assert request.url == f"http://{self.place}.example/ping"
                    assert number > self.newest
                    self.newest = self.ping = number
                case ServerSentEvent():
                    self.last_id = action.id
                case _:
                    pass
        return answer

    def new(self, number: int, request: Request | None) -> None:
        assert not self.stream, "one exchange at most is under way"
        assert number > self.newest
        self.newest = self.stream = number
        if request is None:
            return  # a redirect, which stays at its endpoint
        self.place = int((urlsplit(request.url).hostname or "").removesuffix(".example"))
        domain = self.places[self.place].cursor_domain
        assert self.bound in (None, (domain,)), "what may have had an effect is repeated nowhere"
        cursor = request.header("Last-Event-ID") or ""
        if domain == self.domain:
            assert cursor == self.last_id
        else:
            assert not cursor, "an id means nothing in another domain"
            if self.method == "POST":
                self.domain, self.last_id = domain, ""

    @property
    def state(self) -> S:
        return self.machine.state

    def effect(self, declined: bool = False) -> None:
        """The present request may have had an effect before it failed."""
        sent = self.stream and (self.sent or self.machine._acted)
        if self.method == "POST" and sent and not declined:
            self.bound = (self.places[self.place].cursor_domain,)

    @invariant()
    def what_is_counted_is_what_is_there(self) -> None:
        for index, stats in enumerate(self.machine.endpoints):
            here = index == self.place and self.stream != 0
            assert stats.streams == here
            assert stats.connecting == (here and self.state is not S.CONNECTED)
            trials = stats.attempts - stats.connecting
            assert stats.successes + stats.failures <= trials
        counters = self.machine.metrics
        attempts = counters.connect_attempts + counters.reconnect_attempts
        ended = (
            counters.connect_successes
            + counters.connect_failures
            + counters.reconnect_successes
            + counters.reconnect_failures
        )
        assert attempts == sum(stats.attempts for stats in self.machine.endpoints)
        assert ended <= attempts

    @invariant()
    def there_is_a_way_on(self) -> None:
        due = self.machine._next_due()
        if self.state in ACTIVE:
            paused = self.state is S.CONNECTED and self.machine.paused
            assert paused or self.machine.deadline is not None
            assert paused or due is not None
            assert self.stream or self.machine.reconnect_at is not None
        else:
            assert not self.stream
            assert due is None
        if not self.stream:
            assert self.machine.received_event_id == self.last_id
        if self.state is S.CONNECTED and self.returns:
            mine, all_stats = self.places[self.place].priority, self.machine.endpoints
            for place, stats in zip(self.places, all_stats, strict=True):
                if place.priority < mine and not isinstance(stats.last_error, HTTPStatusError):
                    at = self.machine._endpoints.next_move_at(self.place)
                    assert at < inf, "a stream at a worse place looks forward to a better one"

    # --- Rules ---------------------------------------------------------------------------------

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """What a good network and a good server would do next."""
        if self.state in (S.DISCONNECTED, S.ERROR):
            self.bound = None
            self.tell("connect")
        elif self.preparing:
            request = Request(self.method, self.places[self.place].url)
            cursor = self.last_id if self.places[self.place].cursor_domain == self.domain else ""
            if cursor:
                request = request.with_header("Last-Event-ID", cursor)
            self.tell("request_prepared", self.stream, request)
        elif self.state is S.CONNECTED:
            self.arrive(data.draw(st.integers(0, 2)))
        elif self.stream:
            self.tell("request_sent", self.stream)
            self.sent = True
            self.accepted()
        else:
            self.time_comes(0.0)

    def accepted(self) -> None:
        self.sent = True
        self.tell("response_received", self.stream, STREAM)
        if self.state is S.CONNECTED:
            domain = self.places[self.place].cursor_domain
            if domain != self.domain:
                self.domain, self.last_id = domain, ""

    def arrive(self, events: int) -> None:
        """Events, whose ids name the domain that knows them."""
        body = b":\n\n"
        for _ in range(events):
            self.count += 1
            body += f"id: {self.domain}-{self.count}\ndata: {self.count}\n\n".encode()
        self.tell("body_received", self.stream, body)

    @rule(late=st.sampled_from([0.0, 0.0, 0.5, 400.0]))
    def time_comes(self, late: float) -> None:
        """A tick at the deadline gets somewhere, and does not ask for the next one at once."""
        if self.machine.deadline is None:
            return
        self.now = max(self.now, self.machine.deadline) + late
        self.effect()
        for _ in range(6):
            self.tell("tick")
        assert not self.machine.tick(self.now)
        assert self.machine.deadline is None or self.machine.deadline > self.now

    @precondition(lambda self: self.stream and not self.preparing)
    @rule(
        how=st.sampled_from(["refused", "lost", "end", "large", "stop"]), answer=st.integers(0, 8)
    )
    def fails(self, how: str, answer: int) -> None:
        connected = self.state is S.CONNECTED
        if how == "refused" and not connected:
            response = ANSWERS[answer]
            self.sent = True
            before = self.machine._acted
            self.tell("response_received", self.stream, response)
            if self.stream and response.status not in (302, 303, 308):
                self.effect(declined=response.status in (429, 503) and not before)
                self.tell("body_ended", self.stream)
        elif how == "large" and connected:
            self.effect()
            self.tell("body_received", self.stream, b"data: " + b"x" * 300)
        elif how == "stop" and connected:
            self.tell("body_received", self.stream, f"id: {self.last_id}\ndata: stop\n\n".encode())
        elif how == "end" and connected:
            self.effect()
            self.tell("body_ended", self.stream)
        elif how == "lost":
            self.effect()
            self.tell("connection_lost", self.stream, OSError("reset"))

    @precondition(lambda self: self.preparing)
    @rule()
    def cannot_be_prepared(self) -> None:
        self.tell("prepare_failed", self.stream, OSError("no token"))

    @rule(what=st.sampled_from(["restart", "disconnect", "pause", "resume", "refuse", "clock"]))
    def disturb(self, what: str) -> None:
        match what:
            case "clock":
                if self.machine.deadline is None or self.now < self.machine.deadline:
                    assert not self.machine.tick(self.now - 5)
            case "refuse" if self.state in ACTIVE:
                self.effect()
                self.tell("events_refused", self.last_id)
                assert self.state is S.ERROR
            case "restart" | "disconnect" if self.state is not S.CLOSED:
                if what == "restart":
                    self.bound = self.bound if self.state in ACTIVE else None
                self.tell(what)
            case "pause" | "resume":
                self.tell(what)
            case _:
                pass

    @precondition(lambda self: self.ping)
    @rule(status=st.sampled_from([200, 500]))
    def pong(self, status: int) -> None:
        number, self.ping = self.ping, 0
        self.tell("ping_answered", number, Response(status))


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=max(200, settings().max_examples // 10), stateful_step_count=40
)
