"""What is worth a line in a log, at which level, in which words, and with which fields.

Decided here once, written by whatever loggers a driver hands in: the core itself has none. A logger
for each layer, under the driver's own name:

* ``.connection``: INFO for a change of state, WARNING for a retry that is scheduled and for an
  error that a stream lives on with, ERROR for the state ERROR;
* ``.transport``: DEBUG for what is opened and closed;
* ``.pool``: WARNING for an endpoint whose breaker opens, INFO for its other changes, DEBUG for
  members.

Beside its words a line has fields (the standard library's ``extra=``), all of which begin with
``sse_``. Nothing of an event is ever logged, no header, and no url with its query.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from .actions import (
    CloseTransport,
    ErrorOccurred,
    OpenTransport,
    ScheduleReconnect,
    StartExchange,
    StateChanged,
)
from .endpoints import BreakerState, EndpointChanged
from .errors import SSEError, redact_text
from .members import MemberChanged
from .states import ConnectionState

__all__ = ["Log", "Logger"]

_DEBUG, _INFO, _WARNING, _ERROR = 10, 20, 30, 40  # the standard library's numbers

# Where an error leads from these, the state is another one by the time that it is told.
_UNMOVED = (ConnectionState.CONNECTED, ConnectionState.DISCONNECTED)

Fields: TypeAlias = dict[str, object]


class Logger(Protocol):
    """What is needed of a ``logging.Logger``."""

    def isEnabledFor(self, level: int, /) -> bool:
        """Whether anybody wants lines of this level."""
        ...

    def log(
        self, level: int, msg: str, /, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Write a line: ``msg % args``."""
        ...


class Log:
    """Writes down what happens to the connections and pools of a driver.

    >>> import logging
    >>> log = Log(logging.getLogger, "my_driver")
    """

    __slots__ = ("_connection", "_pool", "_transport")

    def __init__(self, get_logger: Callable[[str], Logger], name: str) -> None:
        self._connection = get_logger(f"{name}.connection")
        self._transport = get_logger(f"{name}.transport")
        self._pool = get_logger(f"{name}.pool")

    def of_connection(self, connection: Any, news: object, alone: bool = False) -> None:
        """Write down a piece of a connection's news: of anything with a state and log fields.

        ``alone``: of an error from which nothing follows.
        """
        match news:
            case StateChanged(old, new, _, error):
                level = _ERROR if new is ConnectionState.ERROR else _INFO
                if self._connection.isEnabledFor(level):
                    fields = connection._log_fields() | _of_error(error)
                    fields |= {"sse_old_state": old.value, "sse_state": new.value}
                    words = "%s: %s -> %s" if error is None else "%s: %s -> %s: %s"
                    self._say(level, words, fields, old.value, new.value, error)
            case ScheduleReconnect(_, delay, attempt, error):
                if self._connection.isEnabledFor(_WARNING):
                    fields = connection._log_fields() | _of_error(error)
                    fields |= {"sse_attempt": attempt, "sse_delay": delay}
                    words = "%s: retry %d in %.2f s"
                    words += "" if error is None else ": %s"
                    self._say(_WARNING, words, fields, attempt, delay, error)
            case ErrorOccurred(error):
                # One that ends the stream, or an attempt, is told by what follows from it.
                level = _WARNING if alone or connection.state in _UNMOVED else _DEBUG
                if self._connection.isEnabledFor(level):
                    self._say(level, "%s: %s", connection._log_fields() | _of_error(error), error)
            case OpenTransport(transport, origin) if self._transport.isEnabledFor(_DEBUG):
                self._on_the_way(connection, "%s: transport %d opens to %s", transport, origin)
            case StartExchange(exchange, request) if self._transport.isEnabledFor(_DEBUG):
                words = "%s: exchange %d begins with %s"
                self._on_the_way(connection, words, exchange, request.origin)
            case CloseTransport(transport) if self._transport.isEnabledFor(_DEBUG):
                self._on_the_way(connection, "%s: transport %d is closed", transport)
            case _:
                pass

    def of_pool(self, pool: Any, news: object) -> None:
        """Write down a piece of a pool's own news."""
        match news:
            case EndpointChanged(endpoint, old, new, _, error):
                level = _WARNING if new is BreakerState.OPEN else _INFO
                if self._pool.isEnabledFor(level):
                    fields: Fields = {
                        "sse_pool": pool.name,
                        "sse_endpoint": endpoint,
                        "sse_old_breaker": old.value,
                        "sse_breaker": new.value,
                        **_of_error(error),
                    }
                    words = "breaker of %s: %s -> %s" + ("" if error is None else ": %s")
                    args = _but_none((endpoint, old.value, new.value, error))
                    self._pool.log(level, words, *args, extra=fields)
            case MemberChanged(member, old, new, _, endpoint, reason, error):
                if self._pool.isEnabledFor(_DEBUG):
                    was = "new" if old is None else old.value
                    fields = {
                        "sse_pool": pool.name,
                        "sse_member": member,
                        "sse_old_state": was,
                        "sse_state": new.value,
                        "sse_endpoint": endpoint,
                        "sse_reason": reason,
                        **_of_error(error),
                    }
                    words = "member %d: %s -> %s" + ("" if reason is None else " (%s)")
                    args = _but_none((member, was, new.value, reason))
                    self._pool.log(_DEBUG, words, *args, extra=fields)
            case _:
                pass

    def _say(self, level: int, words: str, fields: Fields, *args: object) -> None:
        self._connection.log(level, words, *_but_none((_who(fields), *args)), extra=fields)

    def _on_the_way(
        self, connection: Any, words: str, transport: int, origin: object = None
    ) -> None:
        fields = connection._log_fields() | {"sse_transport": transport}
        if origin is not None:
            fields["sse_origin"] = str(origin)
        args = _but_none((_who(fields), transport, origin))
        self._transport.log(_DEBUG, words, *args, extra=fields)


def _who(fields: Fields) -> str:
    # A name may come from anywhere: it begins no line of its own, and a url in it has no secrets.
    return redact_text(str(fields["sse_name"] or fields["sse_url"]))


def _of_error(error: SSEError | None) -> Fields:
    if error is None:
        return {}
    return {"sse_error": type(error).__name__, "sse_category": error.category}


def _but_none(args: tuple[object, ...]) -> tuple[object, ...]:
    """Return what goes into the words: of an error the message.

    A handler may keep a record for long, and an error keeps frames, and with them connections.
    """
    return tuple(
        arg.message if isinstance(arg, SSEError) else arg for arg in args if arg is not None
    )
