"""A proxy on loopback: HTTP (forwarding, and tunnels by CONNECT) and SOCKS 5, by what is asked.

It stands on :class:`~contract.server.Server`: a thread for each connection, which goes on to pass
bytes both ways. All it sees goes into its log.
"""

import base64
import select
import socket
import ssl
import struct
import threading
from types import TracebackType
from typing import Self

from contract.server import Gone, Peer, Server

__all__ = ["Proxy"]

_TURN = 0.02
_VERSION = 5  # RFC 1928
_NO_AUTHENTICATION, _PASSWORD, _NONE_OF_THESE = 0, 2, 255


class Proxy:
    """The proxy; a context manager.

    ``credentials``: a name and a password that it wants. ``refuses``: the status with which it
    answers every CONNECT (or the SOCKS reply).
    """

    def __init__(
        self,
        credentials: tuple[str, str] | None = None,
        *,
        refuses: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.credentials = credentials
        self.refuses = refuses
        self.asked: list[str] = []
        """``CONNECT host:port``, ``SOCKS host:port``, or ``GET url``, in order."""
        self.heard: list[bytes] = []
        """What was said to it itself, not to the target."""
        self._cut = threading.Event()
        self._server = Server(welcome=self._welcome, tls=tls)

    @property
    def authority(self) -> str:
        return f"{self._server.host}:{self._server.port}"

    @property
    def visits(self) -> int:
        return len(self._server.visits)

    def cut(self) -> None:
        """Die: end all that passes through now. (Whoever comes again is served again.)"""
        self._cut.set()
        self._cut = threading.Event()

    # --- Being asked ---------------------------------------------------------------------------

    def _welcome(self, peer: Peer) -> None:
        self._server.start_tls(peer)
        first = peer.recv()
        if first[0] == _VERSION:
            self._socks(peer, first)
        else:
            self._http(peer, first)

    def _http(self, peer: Peer, data: bytes) -> None:
        while b"\r\n\r\n" not in data:
            data += peer.recv()
        head, _, rest = data.partition(b"\r\n\r\n")
        self.heard.append(head)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        self.asked.append(f"{method} {target}")
        own = [line for line in lines if line.lower().startswith("proxy-authorization:")]
        if self.credentials is not None:
            wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
            if [line.partition(": ")[2] for line in own] != [f"Basic {wanted}"]:
                peer.respond(407, ("Proxy-Authenticate", 'Basic realm="s3cr3t place"'))
                return
        if self.refuses is not None:
            peer.respond(self.refuses)
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with _Upstream(host, int(port)) as upstream:
                peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
                upstream.sendall(rest)
                self._pass(peer, upstream)
            return
        authority, _, path = target.removeprefix("http://").partition("/")
        host, _, port = authority.rpartition(":")
        kept = "\r\n".join([f"{method} /{path} HTTP/1.1", *[x for x in lines if x not in own]])
        with _Upstream(host, int(port)) as upstream:
            upstream.sendall(f"{kept}\r\n\r\n".encode("latin-1") + rest)
            self._pass(peer, upstream)

    def _socks(self, peer: Peer, data: bytes) -> None:
        methods = data[2 : 2 + data[1]]
        self.heard.append(data)
        wanted = _NO_AUTHENTICATION if self.credentials is None else _PASSWORD
        if wanted not in methods:
            peer.send(bytes([_VERSION, _NONE_OF_THESE]))
            return
        peer.send(bytes([_VERSION, wanted]))
        if self.credentials is not None:  # RFC 1929
            login = peer.recv()
            self.heard.append(login)
            name, password = (one.encode() for one in self.credentials)
            expected = b"\1%c%b%c%b" % (len(name), name, len(password), password)
            peer.send(bytes([1, login != expected]))
            if login != expected:
                return
        asked = peer.recv()
        self.heard.append(asked)
        length = {1: 4, 4: 16}.get(asked[3])
        if length is None:
            host = asked[5 : 5 + asked[4]].decode()
        else:
            family = socket.AF_INET if length == 4 else socket.AF_INET6
            host = socket.inet_ntop(family, asked[4 : 4 + length])
        port = int(struct.unpack("!H", asked[-2:])[0])
        self.asked.append(f"SOCKS {host}:{port}")
        reply = bytes([_VERSION, self.refuses or 0, 0, 1]) + bytes(6)
        if self.refuses is not None:
            peer.send(reply)
            return
        with _Upstream(host, port) as upstream:
            peer.send(reply)
            self._pass(peer, upstream)

    # --- Passing on ----------------------------------------------------------------------------

    def _pass(self, peer: Peer, upstream: socket.socket) -> None:
        cut = self._cut
        while not cut.is_set():
            peer.server.check()
            ready, _, _ = select.select([peer.sock, upstream], [], [], _TURN)
            for sock in ready:
                data = _read(sock)
                if data is None:
                    continue
                if not data:
                    return
                if sock is upstream:
                    peer.send(data)
                else:
                    upstream.sendall(data)

    # --- The end -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.__exit__(kind, error, traceback)


def _read(sock: socket.socket) -> bytes | None:
    """Return what there is: nothing at the end, None if it is none of ours yet (TLS)."""
    try:
        return sock.recv(65536)
    except TimeoutError:
        return None
    except OSError:
        return b""


class _Upstream:
    """A connection to the target, which is the proxy's and no client's."""

    def __init__(self, host: str, port: int) -> None:
        with Server._lock:
            try:
                self._sock = socket.create_connection((host, port))
            except OSError as error:
                raise Gone from error
            Server._owned.add(self._sock.fileno())

    def __enter__(self) -> socket.socket:
        return self._sock

    def __exit__(self, *raised: object) -> None:
        with Server._lock:
            Server._owned.discard(self._sock.fileno())
            self._sock.close()
