"""Connections over a scripted network, on a clock that jumps: days in seconds, the same each time.

A :class:`SimulatedConnection` is one more driver: the same buffer, watchers and order of inputs as
under asyncio, over verbs that touch nothing. What it did stands in the trace of its
:class:`Simulation`, a line for each thing that happened, identical for the same seed in any process
on any Python.

No waiting, no threads, no tasks: whatever is to happen at a time is scheduled on the clock.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sansio_sse.actions import Event
from sansio_sse.config import PoolConfig
from sansio_sse.faces import SyncConnectionDriver
from sansio_sse.group import MemberDriver
from sansio_sse.http import Origin
from sansio_sse.machine_driver import NO_SLOTS, Waiting
from sansio_sse.pool_faces import SyncConnectionPool
from sansio_sse.stream_set import SyncStreamSet
from sansio_sse.wire import WireMachine

from .application import VirtualRun
from .clock import VirtualClock, VirtualTimer
from .description import describe_action, describe_change
from .network import ScriptedNetwork, ScriptedTransport

__all__ = ["SimulatedConnection", "SimulatedPool", "SimulatedStreamSet", "Simulation"]

T = TypeVar("T")

_EPOCH = 1_767_225_600.0  # 2026-01-01: at 0 on the clock, for people


class _Line:
    """What the network tells about one transport, handed on under its number."""

    __slots__ = ("_connection", "_number")

    def __init__(self, connection: "SimulatedConnection", number: int) -> None:
        self._connection = connection
        self._number = number

    def transport_opened(self) -> None:
        self._connection._note(f"opened {self._number}")
        self._connection._take(WireMachine.transport_opened, self._number)

    def transport_failed(self, error: BaseException) -> None:
        self._connection._note(f"failed {self._number}")
        self._connection._transports.pop(self._number)
        self._connection._take(WireMachine.transport_failed, self._number, error)

    def bytes_received(self, data: bytes) -> None:
        self._connection._note(f"received {self._number} {len(data)} bytes")
        self._connection._take(WireMachine.bytes_received, self._number, data)

    def end_received(self) -> None:
        self._connection._note(f"ended {self._number}")
        self._connection._take(WireMachine.end_received, self._number)


class SimulatedConnection(SyncConnectionDriver):
    """A connection in a :class:`Simulation`, which makes it.

    It has the methods of every driver, as plain calls: to wait is to let time pass, for all that is
    in the simulation. Where the simulation reads (``reading=True``), events are taken as soon as
    they come, into :attr:`received`; else they wait for ``receive()`` or a ``for`` loop.
    """

    __slots__ = ("_label", "_reads", "_simulation", "_timer", "_transports", "received")

    def __init__(
        self, simulation: "Simulation", label: str, url: str, *, reading: bool, **options: Any
    ) -> None:
        self._place(simulation, label, reading=reading)
        super().__init__(url, **options)
        # Each has chance of its own, so that one connection more does not change the others.
        self._machine._random = simulation.network.random.fork()
        self._reading_now = reading
        self.received: list[Event] = []
        """What the simulation has read, in order."""

    def _place(self, simulation: "Simulation", label: str, *, reading: bool) -> None:
        self._simulation = simulation
        self._label = label
        self._reads = reading

    # --- Verbs ---------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self._inside = nullcontext()  # there is one thread
        self._timer: VirtualTimer | None = None
        self._transports: dict[int, ScriptedTransport] = {}

    def _now(self) -> float:
        return self._simulation.clock.now

    def _wall_clock(self) -> float:
        return _EPOCH + self._simulation.clock.now

    def _arm(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        clock = self._simulation.clock
        self._timer = None if at is None else clock.call_at(at, self._deadline_reached)

    def _wake(self) -> None:
        # Whoever is in a blocking call looks again after each turn anyway.
        if self._reads:
            while self._buffer and not self._closing:
                self.received.append(self._buffer.popleft())
            self._drained()

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        clock = self._simulation.clock
        clock.call_at(clock.now, command)

    def _open(self, transport: int, origin: Origin) -> None:
        opened = self._simulation.network.open(origin, _Line(self, transport))
        self._transports[transport] = opened

    def _send(self, transport: int, data: bytes) -> None:
        if self._transports[transport].send(data):
            self._take(WireMachine.bytes_sent, transport)

    def _drop(self, transport: int) -> None:
        dropped = self._transports.pop(transport, None)
        if dropped is not None:  # it is None where a request was being prepared
            dropped.close()

    def _reading(self, transport: int, on: bool) -> None:
        if on:
            self._transports[transport].resume()
        else:
            self._transports[transport].pause()

    def _unhandled(self, error: BaseException) -> None:
        raise error  # out of the run

    def _released(self) -> bool:
        return not self._transports

    def _start(self) -> None:
        """There is nothing to get ready."""

    def _turn(self, seconds: float | None) -> None:
        self._simulation._turn(seconds)

    # --- The trace -----------------------------------------------------------------------------

    def _note(self, what: str) -> None:
        self._simulation._note(self._label, what)

    def _act(self, action: Any) -> None:
        self._note(describe_action(action))
        super()._act(action)

    def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            self._note(describe_action(event))
        super()._deliver(events)


class _Member(MemberDriver, SimulatedConnection):
    """A connection of a simulated pool or set; the group reads it."""

    __slots__ = MemberDriver.SLOTS

    def _join(self, group: Any, member: int, spec: Any) -> None:
        self._simulation = group._simulation
        self._label = f"{group._label}.{member}"
        self._reads = False
        self._calling = False
        self.received = []
        super()._join(group, member, spec)
        self._machine._random = group._simulation.network.random.fork()


class _Group:
    """The verbs of a simulated pool or set."""

    __slots__ = NO_SLOTS

    SLOTS: ClassVar[tuple[str, ...]] = ("_label", "_simulation", "_timer")

    if TYPE_CHECKING:

        def _deadline_reached(self) -> None: ...

    def _place(self, simulation: "Simulation", label: str) -> None:
        self._simulation = simulation
        self._label = label

    def _set_up(self) -> None:
        self._timer: VirtualTimer | None = None

    def _new_member(self) -> _Member:
        return _Member.__new__(_Member)

    def _start(self) -> None:
        """There is nothing to get ready."""

    def _now(self) -> float:
        return self._simulation.clock.now

    def _arm(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        clock = self._simulation.clock
        self._timer = None if at is None else clock.call_at(at, self._deadline_reached)

    def _wake(self) -> None:
        """Whoever waits looks again after each turn anyway."""

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        clock = self._simulation.clock
        clock.call_at(clock.now, command)

    def _unhandled(self, error: BaseException) -> None:
        raise error  # out of the run

    def _run(self, waiting: Waiting[T]) -> T:
        late = False
        try:
            while True:
                until = next(waiting)
                if late:
                    raise TimeoutError
                now = self._now()
                self._simulation._turn(None if until is None else max(0.0, until - now))
                late = until is not None and self._now() >= until
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            waiting.close()

    def _keep(self, member: Any, transport: int, origin: Origin, seconds: float) -> None:
        member._drop(transport)  # a scripted server answers once on each transport


class SimulatedPool(_Group, SyncConnectionPool):
    """A connection pool in a :class:`Simulation`, which makes it."""

    __slots__ = _Group.SLOTS

    def __init__(
        self, simulation: "Simulation", label: str, config: PoolConfig, **options: Any
    ) -> None:
        self._place(simulation, label)
        super().__init__(config, **options)
        self._machine._random = simulation.network.random.fork()

    def _changed(self, change: Any) -> None:
        self._simulation._note(self._label, describe_change(change))
        super()._changed(change)

    def _warn(self, text: str) -> None:
        raise AssertionError(text)


class SimulatedStreamSet(_Group, SyncStreamSet):
    """A set of streams in a :class:`Simulation`, which makes it."""

    __slots__ = _Group.SLOTS

    def __init__(self, simulation: "Simulation", label: str, **options: Any) -> None:
        self._place(simulation, label)
        super().__init__(**options)


class Simulation:
    """A clock, a network and any number of connections.

    :param seed: decides everything that is left to chance: jitter, cuts, whatever draws from
        ``network.random``.
    :param latency: seconds that anything takes from one side to the other.
    :param traced: False: keep no trace, for runs in which only the outcome counts.

    >>> from sansio_sse.testing import EventLog, Simulation
    >>> simulation = Simulation(seed=1)
    >>> log = EventLog()
    >>> log.add_many(3, start=1.0, every=10.0)
    >>> server = simulation.network.server("https://api.example.com", log)
    >>> simulation.network.outage(5.0, 35.0)
    >>> connection = simulation.connect("https://api.example.com/events")
    >>> simulation.run(until=60.0)
    >>> [event.id for event in connection.received], connection.state.value, server.refusals
    (['1', '2', '3'], 'connected', 8)
    >>> print(simulation.trace[0])
         0.000000 #1 state disconnected -> connecting
    """

    def __init__(self, seed: int = 0, *, latency: float = 0.0, traced: bool = True) -> None:
        self.clock: VirtualClock = VirtualClock()
        """On which everything happens."""
        self.network: ScriptedNetwork = ScriptedNetwork(seed, latency=latency, clock=self.clock)
        """Where servers are scripted."""
        self.connections: list[SimulatedConnection] = []
        self.trace: list[str] = []
        """What happened, a line each: the time, the connection, what."""
        self._traced = traced
        self._groups = 0
        self._run = VirtualRun(self.clock)

    def connect(
        self, url: str, *, reading: bool = True, name: str | None = None, **options: Any
    ) -> SimulatedConnection:
        """Make a connection and begin; what follows, follows as time passes.

        The options are those of any driver's ``connect()``. With ``reading=False`` nobody reads its
        events until somebody calls ``receive()``.
        """
        connection = self.connection(url, reading=reading, name=name, wait=False, **options)
        return connection.open()

    def connection(
        self, url: str, *, reading: bool = False, name: str | None = None, **options: Any
    ) -> SimulatedConnection:
        """Make a connection as any driver's ``connect()`` does: ``with``, or ``open()``, begins."""
        label = name or f"#{len(self.connections) + 1}"
        made = SimulatedConnection(self, label, url, reading=reading, name=name, **options)
        self.connections.append(made)
        return made

    def pool(self, config: PoolConfig, *, name: str | None = None, **options: Any) -> SimulatedPool:
        """Make a connection pool, as any driver's ``ConnectionPool``; ``with`` begins it."""
        self._groups += 1
        return SimulatedPool(self, name or f"pool{self._groups}", config, name=name, **options)

    def stream_set(self, *, name: str | None = None, **options: Any) -> SimulatedStreamSet:
        """Make a set of streams, as any driver's ``StreamSet``; ``with`` begins it."""
        self._groups += 1
        return SimulatedStreamSet(self, name or f"set{self._groups}", name=name, **options)

    def call_at(self, at: float, callback: Callable[..., object], *arguments: Any) -> VirtualTimer:
        """Call ``callback(*arguments)`` at a time: what users do in the middle of a run."""
        return self.clock.call_at(at, callback, *arguments)

    def run(self, until: float) -> None:
        """Let time pass until ``until``, from deadline to deadline.

        What a callback raises comes out here.
        """
        self.clock.advance_to(until)

    def run_until(self, condition: Callable[[], bool], *, limit: float = 86400.0) -> None:
        """Let time pass until ``condition()`` is true, as seen after each instant.

        Raises TimeoutError when it is not true after ``limit`` seconds.
        """
        end = self.clock.now + limit
        while not condition():
            if not self._turn(end - self.clock.now):
                raise TimeoutError(f"it did not come true in {limit:g} s")

    def _turn(self, seconds: float | None) -> bool:
        """Let time pass until something happens, or that long; return whether something did."""
        return self._run.wait(seconds)

    def _note(self, label: str, what: str) -> None:
        if self._traced:
            self.trace.append(f"{self.clock.now:13.6f} {label} {what}")
