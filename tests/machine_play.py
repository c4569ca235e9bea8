"""A connection machine played by hand in virtual time, for tests by example."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self, TypeVar

from sansio_sse import (
    Connect,
    ConnectionConfig,
    ConnectionMachine,
    ConnectionState,
    ErrorOccurred,
    HeartbeatConfig,
    Limits,
    PrepareRequest,
    ReconnectionPolicy,
    Request,
    RequestAdmission,
    Response,
    ScheduleReconnect,
    SendPing,
    SendPost,
    ServerSentEvent,
    SSEError,
    StateChanged,
    Timeouts,
)

URL = "http://example.com/events"
STREAM = Response(200, (("Content-Type", "text/event-stream"),))
Action = TypeVar("Action")
S = ConnectionState

_PARTS = (ReconnectionPolicy, HeartbeatConfig, Timeouts, Limits)


def configured(**options: Any) -> ConnectionConfig:
    """A configuration from flat names (``max_attempts=3, idle=10``); no jitter unless asked for.

    ``pings=True`` enables heartbeats, ``retries=False`` disables reconnection.
    """
    options.setdefault("jitter_factor", 0.0)
    parts: dict[str, Any] = {}
    enabled = {
        "heartbeat": options.pop("pings", False),
        "reconnection": options.pop("retries", True),
    }
    for name, part in zip(("reconnection", "heartbeat", "timeouts", "limits"), _PARTS, strict=True):
        own = {field.name for field in fields(part)} & options.keys()
        values = {key: options.pop(key) for key in own}
        if name in enabled:
            values["enabled"] = enabled[name]
        parts[name] = part(**values)
    return ConnectionConfig(**parts, **options)


class Play:
    """Each call tells the machine one thing at ``now`` and keeps the answer in ``answer``."""

    def __init__(
        self,
        *,
        method: str = "GET",
        url: str = URL,
        headers: tuple[tuple[str, str], ...] = (),
        content: bytes | None = None,
        machine: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.machine = ConnectionMachine(
            Request(method, url, headers, content), configured(**config), **(machine or {})
        )
        self.now = 100.0
        self.stream = 0
        self.asked = 0  # the number of the latest question for admission
        self.ping = 0
        self.posted = 0
        self.request = Request("GET", URL)
        self.answer: Sequence[Any] = ()
        self.history: list[Any] = []

    def tell(self, news: str, *args: Any, **options: Any) -> Sequence[Any]:
        self.answer = getattr(self.machine, news)(*args, self.now, **options)
        self.history += self.answer
        for action in self.answer:
            match action:
                case Connect(request, number) | PrepareRequest(request, number):
                    self.request, self.stream = request, number
                case RequestAdmission(number):
                    self.asked = number
                case SendPing(_, number):
                    self.ping = number
                case SendPost(_, number):
                    self.posted = number
                case _:
                    pass
        return self.answer

    # --- Commands and news ---------------------------------------------------------------------

    def connect(self) -> Sequence[Any]:
        return self.tell("connect")

    def accepted(self, *headers: tuple[str, str], body: bytes = b"") -> Self:
        """Connect if need be, and accept; return the play itself."""
        if self.state in (S.DISCONNECTED, S.ERROR):
            self.connect()
        elif self.machine.reconnect_at is not None:
            self.due()
        self.respond(200, ("Content-Type", "text/event-stream"), *headers)
        assert self.state is S.CONNECTED
        if body:
            self.body(body)
        return self

    def respond(self, status: int, *headers: tuple[str, str]) -> Sequence[Any]:
        return self.tell("response_received", self.stream, Response(status, headers))

    def refused(self, status: int, *headers: tuple[str, str], body: bytes = b"") -> Sequence[Any]:
        """A whole response that is no stream."""
        self.respond(status, *headers)
        if self.said(ErrorOccurred):
            return self.answer  # nobody waits for a body
        if body:
            self.body(body)
        return self.end()

    def body(self, data: bytes) -> Sequence[Any]:
        return self.tell("body_received", self.stream, data)

    def end(self) -> Sequence[Any]:
        return self.tell("body_ended", self.stream)

    def lost(self, error: BaseException | None = None) -> Sequence[Any]:
        return self.tell("connection_lost", self.stream, error or ConnectionResetError("reset"))

    def failed(self, error: BaseException | None = None) -> Sequence[Any]:
        return self.tell("connect_failed", self.stream, error or ConnectionRefusedError("refused"))

    def post(self, token: object = None, url: str = "/up", **options: Any) -> Sequence[Any]:
        self.answer = self.machine.post(token, url, self.now, **options)
        self.history += self.answer
        self.posted = next(a.post for a in self.answer if isinstance(a, SendPost))
        return self.answer

    def due(self) -> Sequence[Any]:
        """Let the time come at which something is due; the deadline is only a lower bound of it."""
        due = self.machine._next_due()
        assert due is not None
        self.now = max(self.now, due[0])
        return self.tell("tick")

    def after(self, seconds: float) -> Sequence[Any]:
        """Let time pass, ticking whenever the machine asks for it; return all answers."""
        answers: list[Any] = []
        until = self.now + seconds
        while self.machine.deadline is not None and self.machine.deadline <= until:
            self.now = max(self.now, self.machine.deadline)
            answers += self.tell("tick")
        self.now = until
        answers += self.tell("tick")
        self.answer = answers
        return answers

    # --- Look ----------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        return self.machine.state

    @property
    def waits_for(self) -> tuple[str, float] | None:
        """The reason of the deadline, and the seconds until then."""
        if self.machine.deadline is None or self.machine.deadline_reason is None:
            return None
        return self.machine.deadline_reason.name, round(self.machine.deadline - self.now, 6)

    def said(self, kind: type[Action]) -> list[Action]:
        """The actions of one type in the latest answer."""
        return [action for action in self.answer if isinstance(action, kind)]

    @property
    def events(self) -> list[str]:
        """The data of the events of the latest answer."""
        return [event.data for event in self.said(ServerSentEvent)]

    @property
    def changes(self) -> list[ConnectionState]:
        return [change.new for change in self.said(StateChanged)]

    @property
    def error(self) -> SSEError:
        """The latest error of the latest answer."""
        return self.said(ErrorOccurred)[-1].error

    @property
    def delay(self) -> float:
        """The delay of the reconnect which the latest answer scheduled."""
        [scheduled] = self.said(ScheduleReconnect)
        assert scheduled.at == self.now + scheduled.delay
        return scheduled.delay

    @property
    def metrics(self) -> Any:
        return self.machine.snapshot(self.now)
