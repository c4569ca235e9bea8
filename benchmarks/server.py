"""An event server for the benchmarks, in a process of its own: its CPU time is nobody's.

``python server.py`` prints its port and serves until its standard input ends. The path says how:
``/burst/N`` sends N events as fast as they go, ``/paced/N`` one event per write with a breath
between, ``/idle`` nothing for as long as the client stays. ``/tell`` sends one event to all that
idle, ``/comment`` a comment, and both answer how many these were.
"""

import selectors
import socket
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


def burst(sock: socket.socket, count: int) -> None:
    sock.setblocking(True)
    sock.sendall(HEAD)
    thousand = CHUNK * 1000
    for _ in range(count // 1000):
        sock.sendall(thousand)
    sock.sendall(b"0\r\n\r\n")


def paced(sock: socket.socket, count: int) -> None:
    sock.setblocking(True)
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


def main() -> None:
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    idle: set[socket.socket] = set()
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                sock, _ = listener.accept()
                selector.register(sock, selectors.EVENT_READ)
                continue
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                if sock not in idle:
                    _, kind, *rest = sock.recv(65536).split(b" ")[1].split(b"/")
                    if kind == b"idle":
                        sock.sendall(HEAD)
                        idle.add(sock)
                        continue
                    if kind == b"tell":
                        tell(sock, idle, CHUNK)
                    elif kind == b"comment":
                        tell(sock, idle, COMMENT)
                    elif kind == b"burst":
                        burst(sock, int(rest[0]))
                    elif kind == b"paced":
                        paced(sock, int(rest[0]))
            except (OSError, IndexError):
                pass  # the client went away
            idle.discard(sock)
            selector.unregister(sock)
            sock.close()


if __name__ == "__main__":
    main()
