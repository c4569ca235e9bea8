"""The life of an event stream, as one table.

Why these six states and no more
--------------------------------

A user of an event stream asks three questions: *are events flowing? will they flow again
without me? is it over?* Each state answers them in one word, and anything finer (resolving a
name, shaking hands, waiting for a response head, following a redirect) is a phase inside an
attempt: it has a timer, it shows in the metrics, but it changes none of the three answers.

``DISCONNECTED`` is where a connection begins and where ``disconnect()`` or the good end of a
finite stream leads: nothing flows, nothing will happen by itself, and ``connect()`` starts again.

``CONNECTING`` is the *first* attempt of a ``connect()``. A retry is not CONNECTING: somebody who
watches a dashboard wants to tell "never got through yet" from "was through, or failed, and is
trying again". So every retry, its waiting time and its attempt alike, is ``RECONNECTING`` until
a response is accepted. That is also why no transition leads from RECONNECTING to CONNECTING.

``CONNECTED`` means that a response was *accepted*, not that a socket is open: a proxy's login page
also comes over an open socket.

``ERROR`` and ``CLOSED`` both end the reconnecting, but one invites a human and the other does not.
ERROR holds a reason, and ``connect()`` may try again once the reason is mended. ``CLOSED`` is
final: the caller closed the connection, or the server said "stop" with a 204. Nothing leaves it, so
whoever waits for anything else can be woken with certainty.

The table below is the only place where a transition is allowed. The machine refuses any other,
the diagram in the docs is drawn from it, and the model tests check that every trace of state
changes is a walk of it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = ["TRANSITIONS", "ConnectionState"]


class ConnectionState(StrEnum):
    """Where an event stream is in its life; the values are the lower-case words.

    >>> ConnectionState.CONNECTED.value
    'connected'
    >>> ConnectionState("closed") is ConnectionState.CLOSED
    True
    """

    DISCONNECTED = "disconnected"
    """Nothing flows and nothing is under way; ``connect()`` starts."""
    CONNECTING = "connecting"
    """The first attempt of a ``connect()`` is under way."""
    CONNECTED = "connected"
    """A response was accepted; events flow."""
    RECONNECTING = "reconnecting"
    """Waiting for a retry, or making one."""
    ERROR = "error"
    """Gave up, with a reason; ``connect()`` may try again."""
    CLOSED = "closed"
    """Over for good."""


_S = ConnectionState

TRANSITIONS: Mapping[ConnectionState, Mapping[ConnectionState, str]] = MappingProxyType(
    {
        _S.DISCONNECTED: MappingProxyType(
            {
                _S.CONNECTING: "connect()",
                _S.CLOSED: "close()",
            }
        ),
        _S.CONNECTING: MappingProxyType(
            {
                _S.CONNECTED: "accepted",
                _S.RECONNECTING: "failed, retry",
                _S.DISCONNECTED: "disconnect()",
                _S.ERROR: "failed for good",
                _S.CLOSED: "close(), 204",
            }
        ),
        _S.CONNECTED: MappingProxyType(
            {
                _S.RECONNECTING: "lost, restart()",
                _S.DISCONNECTED: "finished, disconnect()",
                _S.ERROR: "failed for good",
                _S.CLOSED: "close()",
            }
        ),
        _S.RECONNECTING: MappingProxyType(
            {
                _S.CONNECTED: "accepted",
                _S.DISCONNECTED: "disconnect()",
                _S.ERROR: "gave up",
                _S.CLOSED: "close(), 204",
            }
        ),
        _S.ERROR: MappingProxyType(
            {
                _S.CONNECTING: "connect()",
                _S.CLOSED: "close()",
            }
        ),
        _S.CLOSED: MappingProxyType({}),
    }
)
"""Old state -> new state -> why, in a few words. What is not here cannot happen."""
