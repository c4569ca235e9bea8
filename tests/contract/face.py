"""The neutral face: what a scenario needs of a driver besides its public ``connect()``.

Scenarios are written once, as coroutine functions, in the words of the async drivers. A driver
without ``async`` wraps its connection so that ``await`` and ``async for`` work on it (nothing ever
suspends), runs a scenario by sending it one ``None``, and implements :meth:`Face.beside` by a
thread.

A new driver writes ``driver_<name>.py`` in this folder: a subclass of :class:`Face`, and
``DRIVERS``, a list of what makes instances of it.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, ClassVar

from .server import open_sockets

__all__ = ["LIMIT", "PATIENCE", "Face", "Job"]

LIMIT = 25.0  # seconds until a scenario is stopped
PATIENCE = 10.0  # seconds until something that does not come is called missing
Scenario = Coroutine[Any, Any, None]


class Job(ABC):
    """Something which runs beside the scenario."""

    @abstractmethod
    async def result(self) -> Any:
        """Wait for its end; return what it returned, or raise what it raised."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether it has ended."""

    def cancel(self) -> None:
        """Cancel it, where there is such a thing."""
        raise NotImplementedError


class Face(ABC):
    """One driver, to the eyes of a scenario."""

    name: ClassVar[str] = ""
    asynchronous: ClassVar[bool] = True
    """Whether there are tasks, which can be cancelled, and hooks that can be awaited."""
    lacks: ClassVar[frozenset[str]] = frozenset()
    """What the HTTP client below it does otherwise; a scenario that ``needs`` it is not run.

    ``"own transports"``: they are kept, counted and looked after by the core; ``"early answers"``:
    a response is read while its request is still being written; ``"early verdicts"``: what is no
    HTTP is known to be none before its first line is complete; ``"no proxies"``: it has none;
    ``"groups"``: it has pools and sets (or they are tested well enough with another face of it);
    ``"tidy refusals"``: nothing is left to the garbage collector by a Unix socket that is not
    there; ``"speed"``: it does what takes thousands of requests in a few seconds. And parameters of
    scenarios, as the phase ``"connecting"``, where nothing can end its wait but time."""
    only: ClassVar[frozenset[str]] = frozenset()
    """The modules of this suite that it is run by, if another face covers the rest for it."""
    cycles: ClassVar[int] = 1000
    """How many connections it makes in a few seconds."""
    spare_threads: ClassVar[str] = "-"
    """How the names of threads begin which the loop itself keeps for a while."""

    def __init__(self) -> None:
        self.unhandled: list[BaseException] = []
        """What callbacks raised and nobody took. A scenario that expects some takes it out."""

    @abstractmethod
    def connect(self, url: str, **options: Any) -> Any:
        """Call the driver's public ``connect()``."""

    @abstractmethod
    def pool(self, config: Any, **options: Any) -> Any:
        """Make the driver's public ``ConnectionPool``."""

    @abstractmethod
    def streams(self, **options: Any) -> Any:
        """Make the driver's public ``StreamSet``."""

    @abstractmethod
    def run(self, scenario: Callable[[], Scenario]) -> None:
        """Run a scenario to its end; fail if a task or timer outlives it."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Let time pass; only drivers that run by themselves do anything meanwhile."""

    @abstractmethod
    async def let_run(self, connection: Any, seconds: float) -> None:
        """Let time pass in which a connection, pool or set works, although nobody reads."""

    @abstractmethod
    async def one_turn(self) -> None:
        """Let one turn of the loop pass: after it, a command must have changed the state."""

    @abstractmethod
    def beside(
        self, function: Callable[..., Awaitable[Any]], *args: Any
    ) -> AbstractAsyncContextManager[Job]:
        """Run something beside the block; it is waited for at the block's end."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Name the tasks and timers which exist beside the scenario itself."""

    # --- The same for all ----------------------------------------------------------------------

    async def until(self, condition: Callable[[], Any], connection: Any = None) -> None:
        """Wait until something is so, in a server's log for instance; the connection works on."""
        give_up = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < give_up, "what was waited for did not come"
            await (self.sleep(0.002) if connection is None else self.let_run(connection, 0.002))

    async def together(
        self, function: Callable[[Any], Awaitable[Any]], arguments: Iterable[Any]
    ) -> list[Any]:
        """Call something with each argument, all beside each other; return what they return."""
        async with AsyncExitStack() as stack:
            jobs: list[Job] = []
            for argument in arguments:
                job = self.beside(function, argument)
                jobs.append(await stack.enter_async_context(job))
            return [await job.result() for job in jobs]

    async def released(self, connection: Any, before: set[tuple[int, int]]) -> None:
        """Wait until the connection is closed, and find nothing left of it at that very moment."""
        await connection.wait_closed()
        assert open_sockets() - before == set()
        assert self.leftovers() == []

    @staticmethod
    def in_thread(function: Callable[[], Any]) -> None:
        """Call something from another thread, and wait for it."""
        failures: list[BaseException] = []

        def call() -> None:
            try:
                function()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=call, name="test-caller")
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the call blocks"
        if failures:
            raise failures[0]
