"""An event server for the benchmarks, in a process of its own: its CPU time is nobody's.

``python server.py`` prints its port and serves until its standard input ends. The path says how:
``/burst/N`` sends N events as fast as they go, ``/paced/N`` one event per write with a breath
between, ``/idle`` nothing for as long as the client stays. ``/tell`` sends one event to all that
idle, ``/comment`` a comment, and both answer how many these were.

``python server.py CERTIFICATE`` (a file with the chain and its key) prints a second line: the port
where it does the same over TLS. A TLS stream goes out in records of 16 KiB, the largest there are.
"""

import selectors
import socket
import ssl
import sys
import time

EVENT = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" hello"}}'
    b"\n\n"
)
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
)
COMMENT = b"4\r\n: .\n\r\n"  # what servers send so that nobody takes a silent stream for dead
BREATH = 0.0004
PATIENCE = 10.0  # with a client that does not shake hands


def burst(sock: socket.socket, count: int) -> None:
    sock.sendall(HEAD)
    thousand = CHUNK * 1000
    for _ in range(count // 1000):
        sock.sendall(thousand)
    sock.sendall(CHUNK * (count % 1000) + b"0\r\n\r\n")


def paced(sock: socket.socket, count: int) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(HEAD)
    for _ in range(count):
        sock.sendall(CHUNK)
        time.sleep(BREATH)
    sock.sendall(b"0\r\n\r\n")


def tell(sock: socket.socket, idle: set[socket.socket], what: bytes) -> None:
    for other in idle:
        other.sendall(what)
    count = b"%d" % len(idle)
    sock.sendall(b"HTTP/1.1 200 told\r\nContent-Length: %d\r\n\r\n%s" % (len(count), count))


def answer(sock: socket.socket, idle: set[socket.socket]) -> bool:
    """Do what the request says; return whether the client stays."""
    _, kind, *rest = sock.recv(65536).split(b" ")[1].split(b"/")
    if kind == b"idle":
        sock.sendall(HEAD)
        idle.add(sock)
    elif kind == b"tell":
        tell(sock, idle, CHUNK)
    elif kind == b"comment":
        tell(sock, idle, COMMENT)
    elif kind == b"burst":
        burst(sock, int(rest[0]))
    elif kind == b"paced":
        paced(sock, int(rest[0]))
    return kind == b"idle"


def accepted(listener: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    """Take the next client, and shake hands."""
    sock, _ = listener.accept()
    sock.setblocking(True)
    if context is None:
        return sock
    sock.settimeout(PATIENCE)
    sock = context.wrap_socket(sock, server_side=True)
    sock.settimeout(None)
    return sock


def main() -> None:
    contexts: list[ssl.SSLContext | None] = [None]
    for certificate in sys.argv[1:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        contexts.append(context)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    listeners: dict[object, ssl.SSLContext | None] = {}
    for each in contexts:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
        listeners[listener] = each
        print(listener.getsockname()[1], flush=True)
    idle: set[socket.socket] = set()
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            secure = listeners.get(sock)
            if sock in listeners:
                try:
                    sock = accepted(sock, secure)
                except OSError:
                    continue  # the client went away, or does not like the certificate
                if secure is None:
                    selector.register(sock, selectors.EVENT_READ)
                    continue
                # The request may have been read together with the end of the handshake, and no
                # selector would ever tell of it.
            else:
                selector.unregister(sock)
            try:
                stays = sock not in idle and answer(sock, idle)
            except (OSError, IndexError, ValueError):
                stays = False  # the client went away, or spoke of something else
            if stays:
                selector.register(sock, selectors.EVENT_READ)
            else:
                idle.discard(sock)
                sock.close()


if __name__ == "__main__":
    main()
