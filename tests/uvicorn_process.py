"""An ASGI application behind a real uvicorn, as a process of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["uvicorn_with"]


@contextmanager
def uvicorn_with(application: str, folder: Path, *options: str) -> Generator[int]:
    """Serve ``module:name`` of a folder on loopback while the block runs; yield the port."""
    command = [sys.executable, "-m", "uvicorn", application, "--log-level", "warning"]
    command += ["--app-dir", str(folder), "--timeout-graceful-shutdown", "1", *options]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
    try:
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
