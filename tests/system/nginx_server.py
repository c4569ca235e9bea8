"""Debian's nginx in front of an event server, both on loopback, for a test."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOUND = 20.0  # seconds that no start and no end should take

# In the foreground, and it writes nowhere but into its own folder. (With master_process off it does
# not survive to be given its socket.)
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    proxy_max_temp_file_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            {directives}
        }}
    }}
}}
"""


@contextmanager
def nginx(upstream: int, directives: str, folder: Path) -> Generator[str]:
    """A url where nginx passes on what a server on loopback says."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "there is no nginx: apt-get install nginx-light"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder, port=port, upstream=upstream, directives=directives
            )
        )
        # It takes over a socket that listens already: nobody else can have the port, and whoever
        # connects before it has started waits.
        process = subprocess.Popen(
            [program, "-c", configuration, "-p", folder, "-e", folder / "error.log"],
            pass_fds=[listening.fileno()],
            env={**os.environ, "NGINX": f"{listening.fileno()};"},
            stderr=subprocess.DEVNULL,
        )
    try:
        yield f"http://127.0.0.1:{port}/events"
    finally:
        process.terminate()
        process.wait(BOUND)


class EventServer(ThreadingHTTPServer):
    """Sends ``batch`` events of ``size`` letters every ``pace`` seconds, ``count`` in all.

    It goes on after Last-Event-ID; without one it goes on after the newest event that anybody got.
    """

    def __init__(
        self, *, size: int, pace: float, batch: int = 1, count: int = 10_000, headers: str = ""
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.size = size
        self.pace = pace
        self.batch = batch
        self.count = count
        self.headers = headers
        self.newest = 0
        self.over = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, EventServer)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        for line in server.headers.splitlines():
            name, _, value = line.partition(": ")
            self.send_header(name, value)
        self.end_headers()
        number = int(self.headers.get("Last-Event-ID", server.newest))
        try:
            for _ in range(server.count // server.batch):
                if server.over.is_set():
                    break
                self.wfile.write(
                    b"".join(
                        b"id: %d\ndata: %s\n\n" % (number + i, b"x" * server.size)
                        for i in range(1, server.batch + 1)
                    )
                )
                number += server.batch
                server.newest = max(server.newest, number)
                time.sleep(server.pace)  # what a server does between events
        except OSError:
            pass  # the client left

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@contextmanager
def events(server: EventServer) -> Generator[int]:
    """The port of the server, which ends with the block."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()  # waits for its threads
        thread.join(BOUND)
