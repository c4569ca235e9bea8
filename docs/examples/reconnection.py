"""Everything about coming back: the policy, who is told, what a refusal means, the cursor on disk.

    python reconnection.py https://api.example.com/orders cursor.txt token.txt

``cursor.txt`` is written: stop the program, start it again, and it goes on after the last event it
printed. ``token.txt`` is read, and is expected to be renewed by somebody else (a mounted secret).
What is printed to standard error is what the library would otherwise do silently.
"""

import asyncio
import os
import sys
from pathlib import Path

from sansio_sse import (
    Attempt,
    Connected,
    ConnectionConfig,
    Event,
    ReconnectionPolicy,
    Request,
    Response,
    Retry,
    ServerSentEvent,
    SSEError,
    StateChanged,
)
from sansio_sse_asyncio import Connection

POLICY = ReconnectionPolicy(
    max_attempts=20,  # without an event in between; 0 is for ever
    initial_delay=0.1,  # then 0.2, 0.4, ... seconds, each shortened by chance
    max_delay=10.0,
    jitter_factor=0.5,
)


class Token:
    """The token, kept until it is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept = ""

    def authorize(self, request: Request, _attempt: int) -> Request:
        """Run before each attempt: a stream may live longer than its token."""
        self.kept = self.kept or self.path.read_text().strip()
        return request.with_header("Authorization", f"Bearer {self.kept}")

    def decide(self, response: Response, attempt: Attempt) -> Retry | None:
        """Say what to do about two refusals, once each; None is for the usual."""
        if response.status == 401 and attempt.previous_status != 401:
            self.kept = ""
            return Retry(delay=0)  # with a fresh token
        if response.status == 410 and attempt.previous_status != 410:
            return Retry(delay=0, reset_cursor=True)  # what came after it is gone: begin anew
        return None


def changed(_connection: Connection[Event], change: StateChanged) -> None:
    why = f": {change.error}" if change.error else ""
    print(f"{change.old} -> {change.new}{why}", file=sys.stderr)


def failed(connection: Connection[Event], error: BaseException) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)


def stored(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def store(path: Path, cursor: str) -> None:
    """Replace the file in one step, so that a crash leaves the old one or the new one."""
    new = path.with_suffix(".new")
    new.write_text(cursor)
    os.replace(new, path)


async def follow(url: str, cursor: Path, token: Token) -> None:
    async with Connection[Event](
        url,
        last_event_id=stored(cursor),
        config=ConnectionConfig(reconnection=POLICY),
        prepare_request=token.authorize,
        decide=token.decide,
        include={"connected"},
        on_change=changed,
        on_error=failed,
    ) as connection:
        async for event in connection:
            match event:
                case Connected(resumed=False):
                    print("from the beginning", flush=True)  # the place for a snapshot
                case ServerSentEvent():
                    print(event.data, flush=True)  # first the work, then the cursor
                    store(cursor, event.id)
                case _:
                    pass


if __name__ == "__main__":
    try:
        asyncio.run(follow(sys.argv[1], Path(sys.argv[2]), Token(Path(sys.argv[3]))))
    except SSEError as error:
        sys.exit(f"gave up: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
