"""What many scenarios share: a quick policy, and scripts of common kinds."""

from typing import Any

from sansio_sse import ConnectionConfig, PoolConfig, ReconnectionPolicy

from .server import Peer, Script, Seen

__all__ = ["drop", "go_on", "pooled", "quick", "read_all", "resume", "stay", "turn_away"]


def quick(
    *, max_attempts: int = 5, initial_delay: float = 0.01, max_delay: float = 0.05, **options: Any
) -> ConnectionConfig:
    """A configuration whose waits are short."""
    policy = ReconnectionPolicy(
        max_attempts=max_attempts, initial_delay=initial_delay, max_delay=max_delay
    )
    return ConnectionConfig(reconnection=policy, **options)


def pooled(*urls: Any, connection: ConnectionConfig | None = None, **options: Any) -> PoolConfig:
    """A pool's configuration, its members' being a quick one."""
    return PoolConfig(list(urls), connection=connection or quick(), **options)


def stay(*events: str, **stream: Any) -> Script:
    """Send events with ids 1, 2, ... and stay silent until the client leaves."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(**stream)
        for number, data in enumerate(events, 1):
            peer.event(data, id=str(number))
        peer.stall()

    return script


def drop(*events: str, **stream: Any) -> Script:
    """Send events and end the body well."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(**stream)
        for data in events:
            peer.event(data)
        peer.end()

    return script


def turn_away(status: int, *headers: tuple[str, str], body: bytes = b"") -> Script:
    """Answer with something that is no stream."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.respond(status, *headers, body=body)

    return script


def go_on(*events: str, then: str) -> Script:
    """Send events with ids 1, 2, ..., and one more when the test says so."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number, data in enumerate(events, 1):
            peer.event(data, id=str(number))
        peer.wait()
        peer.event(then, id=str(len(events) + 1))
        peer.stall()

    return script


def resume(last: int, *, cut: int = 0) -> Script:
    """Send events 1, 2, ..., behind the cursor, and at ``last`` stay silent.

    ``cut``: break the connection after so many.
    """

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        begin = int(seen.cursor or 0) + 1
        for number in range(begin, last + 1):
            if cut and number == begin + cut:
                peer.close()
                return
            peer.event(str(number), id=str(number))
        peer.stall()

    return script


async def read_all(connection: Any) -> list[str]:
    """Return the data of all events up to the end of the iteration."""
    return [event.data async for event in connection]
