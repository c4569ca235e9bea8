"""AG-UI (Agent-User Interaction protocol): a client for agents' event streams.

``run()`` asks an agent for a run and gives the events of ``ag_ui.core``, over any driver;
``RunState`` is what they add up to: messages, tool calls, state.
"""

from .client import AsyncRun, SyncRun, run
from .errors import PatchFailed, ProtocolViolation
from .events import RunEvent, UnknownEvent, decode
from .run_state import RunState, RunStatus

__all__ = [
    "AsyncRun",
    "PatchFailed",
    "ProtocolViolation",
    "RunEvent",
    "RunState",
    "RunStatus",
    "SyncRun",
    "UnknownEvent",
    "decode",
    "run",
]
