"""Bringing a connection into each phase of its life, and holding it there."""

import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from sansio_sse import ConnectionState, HeartbeatConfig, Timeouts

from .common import quick, stay, turn_away
from .face import Face
from .fixtures import Certificates
from .server import Peer, Seen, Server, open_sockets

__all__ = ["PHASES", "Held", "hold"]

PHASES = [
    "resolving",
    "connecting",
    "shaking hands",
    "waiting for the head",
    "reading an error's body",
    "streaming",
    "streaming over TLS",
    "paused",
    "paused over TLS",
    "pinging",
    "waiting to reconnect",
]

CONNECTED = ConnectionState.CONNECTED
CONNECTING = ConnectionState.CONNECTING
RECONNECTING = ConnectionState.RECONNECTING


class Held:
    """A connection in its phase."""

    def __init__(
        self, connection: Any, state: ConnectionState, attempts: Callable[[], int]
    ) -> None:
        self.connection = connection
        self.state = state
        self.attempts = attempts
        """How many attempts the other side has seen (or we have made, where it cannot see)."""
        self.before = open_sockets()
        self.servers: list[Server] = []

    def dropped(self) -> bool:
        """Whether the other side has noticed that nobody is there any more."""
        return not any(server.open_visits for server in self.servers)


class Resolver:
    """Stands in for getaddrinfo, and does not answer until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.asked = 0
        self.running = 0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **named: Any) -> Any:
        if host not in ("slow.invalid", b"slow.invalid"):
            return self._real(host, port, *args, **named)
        flags = args[3] if len(args) == 4 else named.get("flags", 0)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        self.asked += 1
        self.running += 1
        try:
            self.release.wait(20)
        finally:
            self.running -= 1
        raise socket.gaierror(socket.EAI_NONAME, "nobody knows it")


class BlackHole:
    """An address whose queue is full: packets to it are dropped, so connecting takes for ever."""

    def __init__(self, stack: ExitStack, host: str = "127.0.0.1") -> None:
        with Server._lock:
            listener = stack.enter_context(socket.socket())
            listener.bind((host, 0))
            listener.listen(0)
            self.address: tuple[str, int] = listener.getsockname()
            Server._owned.add(listener.fileno())
            stack.callback(Server._owned.discard, listener.fileno())
            for _ in range(2):
                filler = stack.enter_context(socket.socket())
                Server._owned.add(filler.fileno())
                stack.callback(Server._owned.discard, filler.fileno())
                filler.setblocking(False)
                filler.connect_ex(self.address)


def _flood(peer: Peer, seen: Seen) -> None:
    peer.stream()
    while True:
        peer.event("x" * 1000)


def _error_without_end(peer: Peer, seen: Seen) -> None:
    peer.send(b"HTTP/1.1 500 Broken\r\nContent-Length: 100\r\n\r\nhalf")
    peer.stall()


def _silence(peer: Peer, seen: Seen) -> None:
    peer.stall()


def _no_handshake(peer: Peer) -> None:
    peer.stall()


def _trickle(peer: Peer, seen: Seen) -> None:
    peer.stream()
    while True:
        peer.event("tick")
        peer.sleep(0.005)


@asynccontextmanager
async def hold(
    phase: str,
    sse: Face,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    **options: Any,
) -> AsyncGenerator[Held]:
    """Bring a new connection into a phase, and tear the world around it down afterwards."""
    with ExitStack() as stack:
        servers: list[Server] = []

        def serve(*args: Any, **named: Any) -> Server:
            servers.append(stack.enter_context(Server(*args, **named)))
            return servers[0]

        config = quick(timeouts=Timeouts(connect=8, response=8), initial_delay=5, max_delay=5)
        options = {"config": config, "wait": False, **options}
        secure = {"ssl_context": certificates.client()}
        attempts: Callable[[], int]
        reached: Callable[[], Any]
        state = CONNECTED
        resolver = Resolver(monkeypatch)
        if phase == "resolving":
            stack.callback(resolver.release.set)
            connection = sse.connect("http://slow.invalid/", **options)
            state = CONNECTING
            attempts = reached = lambda: resolver.asked
        elif phase == "connecting":
            hole = BlackHole(stack)
            connection = sse.connect(f"http://127.0.0.1:{hole.address[1]}/", **options)
            state = CONNECTING

            def attempts() -> int:
                made = connection.metrics
                return int(made.connect_attempts + made.reconnect_attempts)

            def reached() -> Any:
                return open_sockets() - held.before

        elif phase == "shaking hands":
            server = serve(welcome=_no_handshake, tls=certificates.good)
            connection = sse.connect(server.url, **secure, **options)
            state = CONNECTING
            attempts = reached = lambda: len(server.visits)
        elif phase in ("waiting for the head", "reading an error's body"):
            server = serve(_silence if phase == "waiting for the head" else _error_without_end)
            connection = sse.connect(server.url, **options)
            state = CONNECTING
            attempts = reached = lambda: len(server.requests)
        elif phase.startswith("streaming"):
            server = serve(_trickle, tls=certificates.good if "TLS" in phase else None)
            connection = sse.connect(server.url, **secure, **options)
            attempts, reached = (
                lambda: len(server.requests),
                lambda: connection.metrics.events_received > 0,
            )
        elif phase.startswith("paused"):
            server = serve(_flood, tls=certificates.good if "TLS" in phase else None)
            options["config"] = quick(buffer_size=5)
            connection = sse.connect(server.url, **secure, **options)
            attempts, reached = (
                lambda: len(server.requests),
                lambda: connection.metrics.events_received >= 5,
            )
        elif phase == "pinging":
            server = serve(stay("hello")).at("/ping", _silence)
            beat = HeartbeatConfig(enabled=True, interval=0.02, timeout=8)
            options["config"] = quick(heartbeat=beat)
            connection = sse.connect(server.url, **options)
            attempts, reached = (
                lambda: len(server.to("/events")),
                lambda: server.to("/ping"),
            )
        elif phase == "waiting to reconnect":
            server = serve(turn_away(503))
            connection = sse.connect(server.url, **options)
            state = RECONNECTING
            attempts, reached = (
                lambda: len(server.requests),
                lambda: connection.state is RECONNECTING,
            )
        else:
            raise NotImplementedError(phase)
        held = Held(connection, state, attempts)
        held.servers = servers
        try:
            await connection.open()
            await sse.until(reached, connection)
            assert connection.state is state
            yield held
        finally:
            if phase == "resolving":
                resolver.release.set()
                await sse.until(lambda: resolver.running == 0)
            connection.close()
            await connection.wait_closed()
