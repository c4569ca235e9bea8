"""Three servers, and a thread that kills them."""

import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from .server import reserve

_SERVER = Path(__file__).with_name("server.py")
_PATIENCE = 15.0


class Servers:
    """Servers in processes of their own, on ports that stay theirs."""

    def __init__(self, count: int = 3) -> None:
        self._kept: list[socket.socket] = [reserve() for _ in range(count)]
        self.ports: list[int] = [sock.getsockname()[1] for sock in self._kept]
        self._lives = [0] * count
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        for index in range(count):
            self.begin(index)
        for index in range(count):
            self.wait(index)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/events" for port in self.ports]

    def begin(self, index: int) -> None:
        self._lives[index] += 1
        name = f"{'abcdefgh'[index]}{self._lives[index]}"
        self._processes[index] = subprocess.Popen(
            [sys.executable, "-S", "-E", str(_SERVER), str(self.ports[index]), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def wait(self, index: int) -> None:
        """Return when a server that was begun is ready."""
        process = self._processes[index]
        assert process is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("a server did not start")

    def send(self, index: int, number: signal.Signals) -> None:
        process = self._processes[index]
        if process is not None:
            process.send_signal(number)

    def kill(self, index: int) -> None:
        process, self._processes[index] = self._processes[index], None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait(_PATIENCE)
        process.stdin.close()
        process.stdout.close()

    def close(self) -> None:
        for index in range(len(self.ports)):
            self.kill(index)
        for sock in self._kept:
            sock.close()


class Monkey(threading.Thread):
    """Kills servers and starts them again, or stops one for a while; never all at one time."""

    def __init__(self, servers: Servers, seed: int) -> None:
        super().__init__(name="monkey")
        self._servers = servers
        self.seed = seed
        self._random = random.Random(seed)
        self.over = threading.Event()
        self.kills = 0
        self.freezes = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.over.wait(self._random.uniform(0.2, 0.8)):
                if self._random.random() < 0.15:
                    self._freeze()
                else:
                    self._kill()
        except BaseException as error:
            self.error = error

    def _kill(self) -> None:
        count = len(self._servers.ports)
        dead = self._random.sample(range(count), self._random.choice([1, 1, 1, 2]))
        dead = dead[: count - 1]
        for index in dead:
            self._servers.kill(index)
            self.kills += 1
        self.over.wait(self._random.uniform(0.0, 0.8))
        for index in dead:
            self._servers.begin(index)
        for index in dead:
            self._servers.wait(index)

    def _freeze(self) -> None:
        """A server that says nothing, for longer than anybody waits for it."""
        index = self._random.randrange(len(self._servers.ports))
        self._servers.send(index, signal.SIGSTOP)
        self.freezes += 1
        self.over.wait(self._random.uniform(0.3, 1.8))
        self._servers.send(index, signal.SIGCONT)

    def stop(self) -> None:
        """End with all servers running."""
        self.over.set()
        self.join(_PATIENCE)
        if self.is_alive() or self.error is not None:
            raise RuntimeError("the monkey is ill") from self.error
