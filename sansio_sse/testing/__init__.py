"""Testing without waiting: a clock that jumps, a network that is a script, simulation and replay.

For those who test what they built on the core, or the core itself. An application is tested with
the same scripts by its driver's own ``testing`` module, ``sansio_sse_asyncio.testing`` for one,
which all have the same names: the fixture ``sse_network`` and the class ``SSENetwork``.

* :class:`VirtualClock` and :class:`SeededRandom`: time and chance that repeat themselves;
* :class:`ScriptedNetwork`: servers made of steps (:class:`Respond`, :class:`Send`, :class:`Cut`,
  ...) or of functions, :class:`EventLog` for one; outages;
* :class:`Simulation`: connections over such a network, and the trace of what happened;
* :class:`ApplicationNetwork`, :class:`VirtualRun`, :class:`PulledTransport`: what those modules of
  the drivers share, and what the testing module of another driver would be made of;
* :func:`record` and :class:`Recording`: what a driver told its machine, and telling it again.

Pure like all of the core: no clock is read, no number drawn, nothing waits.
"""

from .application import ApplicationNetwork, Chance, DeadlockError, PulledTransport, VirtualRun
from .chance import SeededRandom
from .clock import VirtualClock, VirtualTimer
from .description import describe_action, describe_change
from .event_log import EventLog
from .network import (
    Behaviour,
    Handler,
    IncomingRequest,
    ScriptedNetwork,
    ScriptedServer,
    ScriptedTransport,
    TransportListener,
)
from .recording import RecordedInput, Recording, ReplayError, record
from .simulation import SimulatedConnection, SimulatedPool, SimulatedStreamSet, Simulation
from .steps import (
    Accept,
    Cut,
    End,
    Framing,
    Refusal,
    Refuse,
    Reset,
    Respond,
    ScriptedCertificateError,
    Send,
    Stall,
    Step,
    send_event,
)

__all__ = [
    "Accept",
    "ApplicationNetwork",
    "Behaviour",
    "Chance",
    "Cut",
    "DeadlockError",
    "End",
    "EventLog",
    "Framing",
    "Handler",
    "IncomingRequest",
    "PulledTransport",
    "RecordedInput",
    "Recording",
    "Refusal",
    "Refuse",
    "ReplayError",
    "Reset",
    "Respond",
    "ScriptedCertificateError",
    "ScriptedNetwork",
    "ScriptedServer",
    "ScriptedTransport",
    "SeededRandom",
    "Send",
    "SimulatedConnection",
    "SimulatedPool",
    "SimulatedStreamSet",
    "Simulation",
    "Stall",
    "Step",
    "TransportListener",
    "VirtualClock",
    "VirtualRun",
    "VirtualTimer",
    "describe_action",
    "describe_change",
    "record",
    "send_event",
]
