"""Some minutes in which everything that is measured happens, in virtual time, the same each run.

A pool of two endpoints, one of which is down for a while and then forgets its pings; a set of
streams of three origins, of which some are removed; a connection that fails over and posts.
"""

from collections.abc import Callable, Iterator

import pytest

from sansio_sse import (
    BreakerConfig,
    ConnectionConfig,
    Endpoint,
    HeartbeatConfig,
    PoolConfig,
    PoolTimeout,
    ReconnectionPolicy,
    ServerSentEvent,
    Timeouts,
)
from sansio_sse.testing import (
    IncomingRequest,
    Refuse,
    Respond,
    Send,
    SimulatedConnection,
    SimulatedPool,
    SimulatedStreamSet,
    Simulation,
    Stall,
    Step,
    send_event,
)

__all__ = ["FaultyDay"]

A, B, C = "http://a.example", "https://b.example", "http://c.example:8080"
SECRET = "open-sesame"

_CONFIG = ConnectionConfig(
    reconnection=ReconnectionPolicy(initial_delay=0.5, max_delay=4.0, max_attempts=0),
    heartbeat=HeartbeatConfig(enabled=True, interval=5.0, timeout=1.0, max_missed=2),
    timeouts=Timeouts(idle=60.0),
    buffer_size=100,
    breaker=BreakerConfig(failures=2, successes=1, open_for=20.0),
)


class FaultyDay:
    """The simulation; ``run()`` lets it all happen, and calls ``look`` every few seconds."""

    def __init__(self, seed: int = 1) -> None:
        self.simulation = Simulation(seed, latency=0.02, traced=False)
        network = self.simulation.network
        for origin in (A, B, C):
            server = network.server(origin, self._stream)
            server.route("/ping", self._ping)
            server.route("/answer", [Respond(), send_event("token"), send_event("[DONE]")])
            server.route("/say", [Respond(200, content=b"heard")])
            server.route("/busy", [Respond(503)])
            server.route("/gone", [Respond(410)])
        network.server("http://gone.example", [Refuse("dns")])
        network.outage(30.0, 60.0, A)
        self.pool: SimulatedPool = self.simulation.pool(
            PoolConfig(
                [Endpoint(f"{A}/events?token={SECRET}"), Endpoint(f"{B}/events?token={SECRET}")],
                connection=_CONFIG,
                min_size=2,
                max_size=3,
                max_idle=20.0,
                max_connecting=1,
                acquire_timeout=2.0,
                breaker=BreakerConfig(failures=2, successes=1, open_for=20.0),
            ),
            name="orders",
        )
        self.streams: SimulatedStreamSet = self.simulation.stream_set(
            name="devices",
            config=_CONFIG,
            max_connecting=1,
            on_event=lambda streams, key, event: None,
        )
        self.connection: SimulatedConnection = self.simulation.connection(
            "/events",
            name="lone",
            config=_CONFIG,
            endpoints=[Endpoint(A, priority=0), Endpoint(C, priority=1)],
            headers={"Authorization": f"Bearer {SECRET}"},
            reading=True,
            wait=False,
        )

    def _stream(self, request: IncomingRequest) -> Iterator[Step]:
        yield Respond()
        yield Send(b": welcome\n\n")
        for number in range(12):
            yield send_event(f"{number}", id=f"{number}", after=1.0)
        yield Stall(30.0)
        yield Send(b": still here\n\n")
        yield Stall()

    def _ping(self, request: IncomingRequest) -> Iterator[Step]:
        if self.simulation.clock.now < 90.0 or request.at > 110.0:
            yield Respond(204)
        yield Stall()

    def run(self, look: Callable[[], object] = lambda: None) -> None:
        """Let it all happen; at the end everything is open, and at rest."""
        simulation = self.simulation
        simulation.call_at(0.03, look)  # while they connect
        simulation.call_at(11.0, look)  # while somebody waits for a lease
        self.pool.open()
        self.streams.open()
        self.connection.open()
        self._change_the_set(0)
        for second in range(0, 150, 5):
            simulation.run(until=max(float(second), simulation.clock.now))
            look()
            if second == 10:
                self._use_the_pool()
            elif second in (20, 100):
                self._change_the_set(second)
            elif second == 25:
                assert self.connection.post("/say", content="hello").status == 200
        self._lease_and_drop()
        look()

    def close(self) -> None:
        """Close everything, and let it end."""
        for source in (self.pool, self.streams, self.connection):
            source.close()
        self.simulation.run(until=self.simulation.clock.now + 1.0)

    def _use_the_pool(self) -> None:
        leases = [self.pool.acquire() for _ in range(3)]
        assert isinstance(leases[0].receive(), ServerSentEvent)
        with pytest.raises(PoolTimeout):
            self.pool.acquire()
        for lease in leases:
            self.pool.release(lease)
        with self.pool.stream("/answer", until="[DONE]", method="POST", json={}) as stream:
            assert [event.data for event in stream] == ["token", "[DONE]"]

    def _change_the_set(self, second: int) -> None:
        for host in (A, B, C, "http://gone.example"):
            self.streams.add((host, second), f"{host}/events?token={SECRET}")
        self.streams.add(("busy", second), f"{B}/busy")
        self.streams.add(("gone", second), f"{C}/gone")
        self.simulation.run(until=self.simulation.clock.now + 3.0)
        self.streams.remove((B, second))

    def _lease_and_drop(self) -> None:
        lease = self.pool.acquire()
        self.simulation.run(until=self.simulation.clock.now + 2.0)
        self.pool.release(lease, "drop")
