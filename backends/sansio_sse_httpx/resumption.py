"""One answer, whole, out of as many responses as it takes: what to do next, without doing it.

A :class:`Resumption` is asked for the next step whenever the reader of the stream wants more, and
told what came of it. All that is decided is decided by a
:class:`~sansio_sse.ConnectionMachine`, except for one thing, which holds for answers only: a stream
of which the reader has had events is never begun again from its beginning, be the request as safe
to repeat as it may, for the reader would see them twice. It goes on behind a cursor that this very
stream gave, or it is truncated; also if a server gives ids and then does not heed them, which shows
in the first id being the first one again.

What the reader gets is events that are written anew, not the bytes as they came: it is what the
standard makes of them, to the letter, whatever the reader's own parser makes of the rest. A block
without data, for example, is no event, but several parsers (httpx-sse and those made after it) make
one of it, and once there are ids even of the blank line after a comment, at which the SDK of OpenAI
fails. Besides, bytes would have to be held until their block is complete, a second time beside the
parser, within limits and decoded; and what belongs to which event is known to the parser alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import random
from types import ModuleType
from typing import Any, TypeAlias

from sansio_sse import (
    PLAIN,
    Comment,
    ConfigError,
    Connect,
    ConnectionAction,
    ConnectionConfig,
    ConnectionMachine,
    ConnectionState,
    Disconnect,
    ErrorOccurred,
    Profile,
    ResumeCursor,
    ScheduleReconnect,
    ServerSentEvent,
    SSEError,
    StateChanged,
    StreamTruncated,
    encode_comment,
    encode_event,
)
from sansio_sse.errors import redact_url

from .logs import LOG
from .messages import core_request, core_response, own_request
from .modules import error_for

__all__ = ["Open", "Read", "Resumption", "Shut", "Step", "Wait", "checked_config"]

_FINITE_IDLE = 600.0  # what idle=None means for a finite stream


@dataclass(frozen=True, slots=True)
class Open:
    """Send ``request``: answer with ``opened`` or ``failed``, with a timeout past ``until``."""

    request: Any
    until: float | None


@dataclass(frozen=True, slots=True)
class Read:
    """Read from the open response; answer with ``received``, ``ended`` or ``failed``."""

    until: float | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until then; answer with ``waited``."""

    until: float


@dataclass(frozen=True, slots=True)
class Shut:
    """Close the open response; no answer."""


Step: TypeAlias = Open | Read | Wait | Shut | bytes | None
"""What is next: work, bytes for the reader, or the end of the stream."""


def checked_config(config: ConnectionConfig | None) -> ConnectionConfig:
    """Return the configuration for finite streams that have no time of their own.

    Raises :class:`~sansio_sse.ConfigError` for what cannot be had here.
    """
    config = config or ConnectionConfig()
    if config.heartbeat.enabled:
        raise ConfigError("heartbeat: nobody sends pings while nobody reads")
    if config.on_end == "reconnect":
        raise ConfigError("on_end: how a stream ends is for its profile to say")
    idle = config.timeouts.idle
    timeouts = replace(config.timeouts, idle=_FINITE_IDLE if idle is None else idle)
    return replace(config, on_end="finish", timeouts=timeouts)


class Resumption:
    """The stream that begins with ``response``, which answers ``sent``, in place of ``request``."""

    def __init__(
        self,
        module: ModuleType,
        request: Any,
        sent: Any,
        response: Any,
        *,
        profile: Profile,
        config: ConnectionConfig,
        now: float,
    ) -> None:
        asked, self._whole = core_request(module, sent)  # else its content is gone
        self._module = module
        self._asked = request
        self._extensions = sent.extensions
        self._idle = config.timeouts.idle
        self._until = _promised(profile, asked.method)
        self._machine = ConnectionMachine(
            asked,
            config,
            random=random,
            until=self._until,
            include={"comments"},
            # With any other framing there is nothing to gain from the rest of a body.
            reuse="chunked" in response.headers.get("transfer-encoding", "").lower(),
        )
        self._given = self._id = self._machine.received_event_id
        self._output: list[bytes] = []
        self._delivered = False
        self._first: str | None = None  # the first cursor that the stream gave
        self._again = False  # whether the next one is the first behind a cut
        self._connect: Connect | None = None
        self._number = 0  # of the exchange that is open
        self._shut = False  # it is to be closed
        self._error: SSEError | None = None  # the latest
        self._refused = False
        self._closed = False
        self._take(self._machine.connect(now), now)
        self._begin(now)
        self.opened(response, now)

    # --- What is next --------------------------------------------------------------------------

    def next(self, now: float) -> Step:
        """Return the next step; raise what ended the stream, if it did not end as it should."""
        machine = self._machine
        if self._closed:
            return None
        if self._output:
            output = b"".join(self._output)
            self._output.clear()
            return output
        if self._shut:
            self._shut = False
            self._number = 0
            return Shut()
        if self._connect is not None:
            request = own_request(self._module, self._connect.request, self._extensions)
            self._again = True
            self._begin(now)
            return Open(request, machine.deadline)
        if machine.reconnect_at is not None:
            return Wait(machine.reconnect_at)
        if self._number:
            return Read(self._patience(now))
        self._finish()
        return None

    def _begin(self, now: float) -> None:
        assert self._connect is not None
        self._number = self._connect.attempt
        self._connect = None
        # A client does not tell when that is.
        self._take(self._machine.request_sent(self._number, now), now)

    def _patience(self, now: float) -> float | None:
        """Return until when to read; the time in which nobody wanted to is not the server's."""
        if self._machine.state is not ConnectionState.CONNECTED:
            return self._machine.deadline
        return now + self._idle if self._idle else None

    def _finish(self) -> None:
        state = self._machine.state
        error = self._error
        if state is ConnectionState.CLOSED and self._until is not None:
            error = self._no_rest("the stream was cut, and the server has no rest of it (204)")
        elif state is not ConnectionState.ERROR and not self._refused:
            return
        assert error is not None
        raise error_for(self._module, self._truncated(error), self._asked)

    def _no_rest(self, text: str) -> StreamTruncated:
        """Say that what was cut, with the latest error, is not to be had."""
        assert self._error is not None
        error = StreamTruncated(text, cause=self._error, response=self._machine.response)
        return error.with_context_of(self._error)

    def _truncated(self, error: SSEError) -> SSEError:
        """Say the same of every accepted stream that has no end, whatever it was that ended it."""
        cut = self._until is not None and error.accepted and error.retryable
        if not cut or isinstance(error, StreamTruncated):
            return error
        text = f"the stream was cut: {error}"
        truncated = StreamTruncated(text, cause=error, response=error.response)
        return truncated.with_context_of(error)

    # --- For the log ---------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """Where the stream is in its life."""
        return self._machine.state

    def _log_fields(self) -> dict[str, object]:
        return {"sse_name": None, "sse_url": redact_url(str(self._asked.url))}

    # --- What happened -------------------------------------------------------------------------

    def opened(self, response: Any, now: float) -> None:
        """The head of a response is here."""
        head = core_response(response)
        self._take(self._machine.response_received(self._number, head, now), now)

    def received(self, data: bytes, now: float) -> None:
        """Bytes of the body are here."""
        self._take(self._machine.body_received(self._number, data, now), now)
        self._take(self._machine.tick(now), now)

    def ended(self, now: float) -> None:
        """The body ended where HTTP says that it ends."""
        self._take(self._machine.tick(now), now)
        self._take(self._machine.body_ended(self._number, now), now)
        self._drained(now)

    def failed(self, error: BaseException, now: float) -> None:
        """The open exchange failed, or took longer than it may."""
        module, machine, number = self._module, self._machine, self._number
        self._take(machine.tick(now), now)
        if isinstance(error, TimeoutError | module.TimeoutException):
            # It was read all the time, so that this tick is not too late to blame the server.
            self._take(machine.tick(now), now)
        opening = isinstance(error, module.ConnectError | module.ConnectTimeout)
        report = machine.connect_failed if opening else machine.connection_lost
        self._take(report(number, error, now), now)
        self._drained(now)

    def waited(self, now: float) -> None:
        """The time is over that was to be waited for."""
        self._take(self._machine.tick(now), now)

    def close(self, now: float) -> None:
        """Nobody wants the rest."""
        self._closed = True
        self._take(self._machine.close(now), now)

    def _drained(self, now: float) -> None:
        if self._machine.draining:
            self._take(self._machine.drained(self._number, now), now)
            self._shut = True

    # --- What follows --------------------------------------------------------------------------

    def _take(self, actions: Iterable[ConnectionAction], now: float) -> None:
        for action in actions:
            happened = isinstance(action, ErrorOccurred) and not self._refused
            if happened or isinstance(action, StateChanged):
                LOG.of_connection(self, action)
            match action:
                case ServerSentEvent():
                    if not self._refused and not self._begins_anew(action, now):
                        self._output.append(self._encode(action))
                        self._delivered = True
                case Comment():
                    # Without a blank line: see the module's text.
                    self._output.append(encode_comment(action.text)[:-1])
                case Connect():
                    self._connect = action
                case Disconnect():
                    self._shut = self._shut or action.attempt == self._number != 0
                case ErrorOccurred() if not self._refused:
                    self._error = action.error
                case ScheduleReconnect() if not self._may_resume():
                    self._refuse(now)
                case ScheduleReconnect():
                    LOG.of_connection(self, action)
                case _:
                    pass  # what it says is asked for: the state, the time of the next attempt

    def _refuse(self, now: float) -> None:
        self._refused = True
        self._take(self._machine.disconnect(now), now)

    def _begins_anew(self, event: ServerSentEvent, now: float) -> bool:
        """Tell whether the server sends again what the reader has had; then that is the end."""
        if self._first is not None and not self._again:
            return False
        rule = self._rule
        cursor = rule.read(event) if rule.field else event.id if event.has_id else ""
        if not cursor:
            return False
        self._again = False
        if cursor == self._first:
            text = "the stream was cut, and the server began it anew in spite of its own ids"
            self._error = self._no_rest(text)
            self._refuse(now)
            return True
        self._first = self._first or cursor
        return False

    def _encode(self, event: ServerSentEvent) -> bytes:
        """Write an event; with the id that is in force, if the reader cannot know it otherwise."""
        id = event.id if event.has_id or event.id != self._id else None
        self._id = event.id
        return encode_event(event.data, event=event.event, id=id, retry=event.retry)

    def _may_resume(self) -> bool:
        same_content = self._rule.method in (None, self._asked.method)
        if self._refused or (same_content and not self._whole):
            return False
        cursor = self._machine.received_event_id
        # What the caller began with says nothing of what this stream has delivered.
        moved = cursor not in ("", self._given)
        return moved or (self._whole and not self._delivered)

    @property
    def _rule(self) -> ResumeCursor:
        """Where the cursor is, and where it goes."""
        return PLAIN.cursor if self._until is None else self._until.cursor


def _promised(profile: Profile, method: str) -> Profile | None:
    """Return the profile, if it promises an end to what answers a request with this method.

    Who asks with the method that asks for the rest of streams (a GET, in MCP) may well be listening
    to a stream that has no end.
    """
    ends = profile.done or profile.terminal or profile.terminal_fields
    return profile if ends and method != profile.cursor.method else None
