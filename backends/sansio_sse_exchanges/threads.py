"""``ClientConnection``: an event stream over an HTTP client of plain calls; a thread per exchange.

A thread makes the exchange and reads; whoever is in a blocking call (iterating, ``receive``,
``wait_for``, ``post``, a state or error iterator) takes what it has read and turns the crank. A
thread reads on only when what it has read is taken, so that nothing piles up.

A thread that waits cannot be cancelled, so ``close()`` shuts down the socket under it. Some waits
have no socket, or one that is not ours alone:

* the resolution of a name, and the race of addresses: bounded by ``timeouts.connect``;
* the wait for the head of a response on a connection that the client had kept: by
  ``timeouts.response``;
* a stream of HTTP/2, whose connection others share: until the next frame on that connection.

Nobody waits for such a thread: what comes of it is thrown away.
"""

import contextlib
import queue
import random
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

from sansio_sse import (
    Carrier,
    EventT,
    ExchangeMachine,
    LocalProtocolError,
    Log,
    Request,
    SyncConnectionDriver,
    Timeouts,
)

from .client import Client, LetGo, before_sending, failure_of
from .logs import LOG

__all__ = ["ClientConnection"]

News = Callable[[], None]

LONG = 1e6  # seconds: what can be waited for in one go
# Seconds that a thread is given to hand over what is there already: else silence would be measured
# by how quick it is.
_MOMENT = 0.02


class Link:
    """One exchange of a connection, and its thread."""

    __slots__ = (
        "_client",
        "_connecting",
        "_held",
        "_lock",
        "_reading",
        "_sent",
        "_shared",
        "_socket",
        "_turns",
        "_waits",
        "dropped",
        "lost",
        "number",
        "owner",
        "timeouts",
        "trusted",
    )

    def __init__(self, owner: "ClientConnection[Any]", number: int) -> None:
        self.owner: Any = owner
        self.number: int = number
        self.timeouts: Timeouts = owner._machine.config.timeouts
        self._client: Client = owner._client
        self.trusted: bool = False
        self._sent = False
        self.dropped: bool = False
        self._reading = True
        self._held: bytes | None = None  # what was read before a pause
        self._lock = threading.Lock()  # between the one who shuts down and the thread that closes
        self._socket: socket.socket | None = None  # a descriptor of our own, to shut down by
        self._connecting: Any = None  # the stream of a connection that is not made yet
        self._shared = False  # the connection carries other exchanges too
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each piece to be read
        self._waits = True  # it is in the client's hands
        self.lost: bool = False
        """It was let go of where nothing ends its wait."""

    # --- On its thread -------------------------------------------------------------------------

    def start(self, request: Request) -> None:
        """Begin."""
        self.trusted = self.owner._machine.trusts(request)
        threading.Thread(
            target=self._run, args=(request,), name="sansio-sse-exchange", daemon=True
        ).start()

    def _run(self, request: Request) -> None:
        try:
            if not self._client.tells:
                self._tell(ExchangeMachine.exchange_begun)
            with self._client.exchange(request, self) as (response, body):
                self._connecting = None
                self._tell(ExchangeMachine.response_received, response)
                pieces = iter(body)
                while (data := self._next(pieces)) is not None:
                    self._put(partial(self._received, data))
                    self._turns.get()
                self._tell(ExchangeMachine.end_received)
        except Exception as error:
            self._waits = False
            if not self._client.tells and not before_sending(error):
                self._tell(ExchangeMachine.transport_opened)  # perhaps
            failure = failure_of(error, self.timeouts, sent=self._sent)
            self._tell(ExchangeMachine.exchange_failed, failure)
        finally:
            if self._connecting is not None:  # httpcore leaves it open when SOCKS fails
                self._connecting.close()
            with self._lock:
                self._close_socket()
            self.owner._thread_ended(self)

    def _next(self, pieces: Iterator[bytes]) -> bytes | None:
        self._waits = True  # before the look at what `drop` sets before it looks at this
        data = None if self.dropped else next(pieces, None)
        self._waits = False
        return None if self.dropped else data

    def _tell(self, news: Any, *args: Any) -> None:
        self._put(partial(self._told, news, *args))

    def _put(self, news: News) -> None:
        self.owner._put(news)

    def opened(self, *, shared: bool) -> None:
        """It has a connection; raise if it comes too late, before anything is sent."""
        with self._lock:
            self._shared = shared
            self._connecting = None
            if shared:
                self._close_socket()
            if self.dropped:
                raise LetGo
        self._tell(ExchangeMachine.transport_opened)

    def sent(self) -> None:
        """The whole request has left."""
        self._sent = True
        self._tell(ExchangeMachine.request_sent)

    def connected(self, stream: Any) -> None:
        """Take note of the socket, to shut it down by."""
        self._connecting = stream
        sock: Any = None if stream is None else stream.get_extra_info("socket")
        with self._lock:
            if isinstance(sock, socket.socket) and self._socket is None and not self._shared:
                with contextlib.suppress(OSError):
                    # The client's own object is another one as soon as TLS begins.
                    self._socket = socket.socket(fileno=socket.dup(sock.fileno()))
            if self.dropped:
                self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- On the thread of whoever is in a call ---------------------------------------------------

    def _told(self, news: Any, *args: Any) -> None:
        if not self.dropped:
            self.owner._take(news, self.number, *args)

    def _received(self, data: bytes) -> None:
        if self.dropped:
            return
        if not self._reading:
            self._held = data
            return
        self.owner._bytes_received(self.number, data)
        self.owner._read_on_since = self.owner._now()
        self._turns.put(None)

    def reading(self, on: bool) -> None:
        """Read, or do not."""
        self._reading = on
        if on and self._held is not None:
            data, self._held = self._held, None
            self.owner._put(partial(self._received, data))

    def drop(self) -> None:
        """Let go of it at once."""
        with self._lock:
            self.dropped = True
            if self._waits:  # else it ends by itself, and its connection may serve again
                self.lost = self._socket is None
                self._shut_down()
        self._turns.put(None)


class ClientConnection(SyncConnectionDriver[EventT]):
    """One event stream that survives, over an HTTP client of plain calls.

    A context manager, and an iterator of events. A subclass sets ``_client`` before all else.
    """

    SLOTS: ClassVar[tuple[str, ...]] = (
        "_client",
        "_client_closed",
        "_commander",
        "_commands",
        "_links",
        "_live",
        "_news",
        "_over",
        "_read_on_since",
    )

    __slots__ = SLOTS

    _client: Client
    _carrier: ClassVar[type[Carrier]] = ExchangeMachine
    _log: ClassVar[Log | None] = LOG

    def _set_up(self) -> None:
        self._links: dict[int, Link] = {}
        self._live: set[Link] = set()  # whose threads have not ended
        self._inside: Any = threading.Lock()
        self._calling = False
        self._commander = 0  # the thread which, from outside of any call, runs commands
        self._commands: deque[News] = deque()
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._over = False
        self._client_closed = False
        self._read_on_since = 0.0  # when a thread was last told to

    # --- The crank -----------------------------------------------------------------------------

    def _alone(self) -> None:
        if self._calling or (self._commander and self._commander == threading.get_ident()):
            raise LocalProtocolError("another call of this connection is under way")

    def _left(self) -> None:
        if self._commands:
            self._run_commands()

    def _start(self) -> None:
        pass

    def _turn(self, seconds: float | None) -> None:
        if seconds is not None:
            seconds = min(max(seconds, self._moment()), LONG)
        if self._commands:
            seconds = 0
        try:
            news = self._news.get(timeout=seconds)
            while True:
                news()
                news = self._news.get_nowait()
        except queue.Empty:
            pass
        while self._commands:
            self._commands.popleft()()

    def _moment(self) -> float:
        """Return how many seconds are left to a thread that was told to read on."""
        return max(0.0, self._read_on_since + _MOMENT - self._now())

    def _put(self, news: News) -> None:
        """Have something done by whoever is in a call, or will be; from any thread."""
        self._news.put(news)

    def _run_commands(self) -> None:
        """Run what others have asked for, here, unless somebody is inside and will."""
        while self._commands and self._inside.acquire(blocking=False):
            try:
                self._commander = threading.get_ident()
                while self._commands:
                    self._commands.popleft()()
            finally:
                self._commander = 0
                self._inside.release()

    # --- Verbs ---------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.monotonic()

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        pass  # whoever turns the crank looks at the deadline each time

    def _wake(self) -> None:
        pass  # and at everything else

    def _from_elsewhere(self, command: News) -> None:
        self._commands.append(command)
        self._run_commands()
        if self._commands:
            self._put(_nothing)

    def _exchange(self, exchange: int, request: Request) -> None:
        link = self._links[exchange] = Link(self, exchange)
        self._live.add(link)
        link.start(request)

    def _drop(self, transport: int) -> None:
        link = self._links.pop(transport, None)
        if link is not None:
            link.drop()

    def _reading(self, transport: int, on: bool) -> None:
        self._links[transport].reading(on)

    def _thread_ended(self, link: Link) -> None:
        """Take note, on the very thread: there may be nobody any more who takes news."""
        self._live.discard(link)
        if self._over:
            self._close_client()
        # Last: somebody may wait for all of this.
        self._put(partial(self._forget, link))
        if self._over:
            self._wake()

    def _forget(self, link: Link) -> None:
        if self._links.get(link.number) is link:
            del self._links[link.number]

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)

    def _released(self) -> bool:
        return self._client_closed and self._let_go()

    def _let_go(self) -> bool:
        return all(link.lost for link in tuple(self._live))

    def _ended(self) -> None:
        self._over = True
        self._close_client()

    def _close_client(self) -> None:
        if self._over and not self._client_closed and self._let_go():
            self._client.close()
            self._client_closed = True


def _nothing() -> None:
    """Do nothing but look around."""
