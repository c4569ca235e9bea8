"""What a driver told a machine, written down, and told again to a fresh one.

The core is pure, so its inputs are all there is to know: who has them can repeat what happened, at
a desk, without the network it happened on. A :class:`Recording` holds every input with its time,
the random numbers that were drawn, and the answer in words; it is written as JSON lines.

It holds what the server sent, and of the client's side what ``prepare_request`` returned and
``post()`` was given: look before you pass it on.
"""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sansio_sse import errors
from sansio_sse.connection import ConnectionMachine
from sansio_sse.driver import ConnectionDriver
from sansio_sse.errors import SSEError
from sansio_sse.http import Request
from sansio_sse.wire import WireMachine

from .description import describe_action

__all__ = ["RecordedInput", "Recording", "ReplayError", "record"]


class ReplayError(AssertionError):
    """A machine answered otherwise than in the recording."""


@dataclass(frozen=True, slots=True)
class RecordedInput:
    """One input of a machine, and its answer."""

    name: str
    """The method of :class:`~sansio_sse.WireMachine`."""
    arguments: tuple[Any, ...]
    """What it was called with, the time excepted."""
    at: float
    """What time it was called with."""
    drawn: tuple[float, ...] = ()
    """The random numbers it drew."""
    answer: tuple[str, ...] = ()
    """The actions, as :func:`~sansio_sse.testing.describe_action` has them."""

    def give_to(self, machine: WireMachine) -> Sequence[Any]:
        """Give this input to a machine and return its answer."""
        match self.name, self.arguments:
            case "restart", (last_event_id,):
                return machine.restart(self.at, last_event_id)
            case "post", (token, url, request):
                return machine.post(
                    token,
                    url,
                    self.at,
                    method=request.method,
                    headers=request.headers,
                    content=request.content,
                )
            case _:
                answer: Sequence[Any] = getattr(machine, self.name)(*self.arguments, self.at)
                return answer


class Recording:
    r"""The inputs of one machine, in order; :func:`record` fills it.

    >>> recording = Recording()
    >>> recording.inputs.append(RecordedInput("connect", (), 0.0))
    >>> print(recording.dumps(), end="")
    {"input": "connect", "at": 0.0, "arguments": [], "drawn": [], "answer": []}
    >>> Recording.loads(recording.dumps()).inputs == recording.inputs
    True
    """

    def __init__(self, inputs: Iterable[RecordedInput] = ()) -> None:
        self.inputs: list[RecordedInput] = list(inputs)

    def replay(self, make: Callable[[Callable[[], float]], ConnectionMachine]) -> list[Any]:
        """Tell a fresh machine the same, and return all its actions.

        ``make(random)`` makes the machine, with the request and the configuration of the recorded
        one and the ``random`` it is given. Raises :class:`ReplayError` at the first answer that
        differs.
        """
        drawn: list[float] = []

        def random() -> float:
            if not drawn:
                raise ReplayError("the machine draws more random numbers than the recorded one")
            return drawn.pop(0)

        machine = WireMachine(make(random))
        actions: list[Any] = []
        for number, told in enumerate(self.inputs):
            drawn += told.drawn
            answer = told.give_to(machine)
            described = tuple(map(describe_action, answer))
            if described != told.answer:
                raise ReplayError(
                    f"input {number} ({told.name} at {told.at}) was answered by {described}, "
                    f"in the recording by {told.answer}"
                )
            actions += answer
        return actions

    def dumps(self) -> str:
        """Return it as JSON lines."""
        return "".join(json.dumps(_to_json(told)) + "\n" for told in self.inputs)

    @classmethod
    def loads(cls, text: str) -> "Recording":
        """Read what :meth:`dumps` returned."""
        return cls(_from_json(json.loads(line)) for line in text.splitlines())


def record(connection: ConnectionDriver) -> Recording:
    """Write down, from now on, what this connection's driver tells its machine.

    Any driver's connection will do, before it connects. It costs time and memory; a connection
    which is not recorded pays nothing for the possibility.
    """
    recording = Recording()
    drawn: list[float] = []
    tokens: list[object] = []
    machine = connection._machine
    random = machine._random
    driver = type(connection)

    def draw() -> float:
        drawn.append(random())
        return drawn[-1]

    def take(self: ConnectionDriver, news: Callable[..., Sequence[Any]], *arguments: Any) -> None:
        def told(wire: WireMachine, *arguments_and_now: Any) -> Sequence[Any]:
            drawn.clear()
            answer = news(wire, *arguments_and_now)
            *given, now = arguments_and_now
            name, arguments, at = _in_words(news.__name__, given, now, tokens)
            words = tuple(map(describe_action, answer))
            recording.inputs.append(RecordedInput(name, arguments, at, tuple(drawn), words))
            return answer

        # At what time it is told is known when its turn has come: the input itself is wrapped.
        driver._take(self, told, *arguments)

    def bytes_received(self: ConnectionDriver, transport: int, data: bytes) -> None:
        take(self, WireMachine.bytes_received, transport, data)

    machine._random = draw
    # A class of its own for this one connection: what is not recorded pays nothing.
    recorded = type(
        driver.__name__,
        (driver,),
        {
            "__slots__": (),
            "__module__": driver.__module__,
            "_take": take,
            "_bytes_received": bytes_received,
        },
    )
    object.__setattr__(connection, "__class__", recorded)
    return recording


def _in_words(
    name: str, given: list[Any], now: float, tokens: list[object]
) -> tuple[str, tuple[Any, ...], float]:
    """Name an input as :class:`~sansio_sse.WireMachine` does: drivers have helpers of their own."""
    match name:
        case "_tick_at_least":
            return "tick", (), max(now, given[0])
        case "_refuse":
            return "events_refused", tuple(given), now
        case "_post":
            tokens.append(given[0])
            return "post", (len(tokens), *given[1:]), now
        case "abandon_post":
            return name, (_number_of(given[0], tokens),), now
        case _:
            return name.lstrip("_"), tuple(given), now


def _number_of(token: object, tokens: list[object]) -> int:
    return next((n for n, known in enumerate(tokens, 1) if known is token), 0)


# --- JSON --------------------------------------------------------------------------------------


def _to_json(told: RecordedInput) -> dict[str, Any]:
    return {
        "input": told.name,
        "at": told.at,
        "arguments": [_argument_to_json(argument) for argument in told.arguments],
        "drawn": list(told.drawn),
        "answer": list(told.answer),
    }


def _from_json(line: dict[str, Any]) -> RecordedInput:
    return RecordedInput(
        line["input"],
        tuple(map(_argument_from_json, line["arguments"])),
        line["at"],
        tuple(line["drawn"]),
        tuple(line["answer"]),
    )


def _argument_to_json(argument: Any) -> Any:
    match argument:
        case bytes():
            return {"bytes": base64.b64encode(argument).decode()}
        case Request(method, url, headers, content):
            return {
                "request": [
                    method,
                    url,
                    [list(pair) for pair in headers],
                    _argument_to_json(content),
                ]
            }
        case BaseException():
            return {"error": _error_to_json(argument)}
        case _:
            return argument


def _argument_from_json(argument: Any) -> Any:
    match argument:
        case {"bytes": text}:
            return base64.b64decode(text)
        case {"request": [method, url, headers, content]}:
            pairs = tuple((name, value) for name, value in headers)
            return Request(method, url, pairs, _argument_from_json(content))
        case {"error": error}:
            return _error_from_json(error)
        case _:
            return argument


def _error_to_json(error: BaseException) -> dict[str, Any]:
    """Keep of an exception what ``errors.from_transport`` and messages look at."""
    kind = type(error)
    shape: dict[str, Any] = {
        "type": kind.__qualname__,
        "module": kind.__module__,
        "text": str(error),
    }
    for name in ("strerror", "verify_code", "verify_message", "retryable"):
        if hasattr(error, name):
            shape[name] = getattr(error, name)
    return shape


def _error_from_json(shape: dict[str, Any]) -> BaseException:
    """Make an exception of the same shape: of a class of ours, or one that looks like it was."""
    attributes = dict(shape)
    name, module, text = (attributes.pop(key) for key in ("type", "module", "text"))
    ours = getattr(errors, name, None)
    if isinstance(ours, type) and issubclass(ours, SSEError) and module == errors.__name__:
        error = ours.__new__(ours, text)
        SSEError.__init__(error, text, retryable=attributes["retryable"])
        return error
    foreign = type(name, (Exception,), {"__module__": module, **attributes})
    made: BaseException = foreign(text)
    return made
