"""An event server that may be killed at any moment: what one begins, any other can go on with.

``python server.py PORT NAME`` serves until it dies, or until its standard input ends. It says
"ready" once it listens. Who comes without a Last-Event-ID gets a new stream; its name says when it
began, and from that everybody knows what it holds: event 1 is due then, event 2 an INTERVAL later.
The id of an event is the name of its stream and its position. Who comes with one gets what follows,
all at once as far as it is due.
"""

import asyncio
import itertools
import socket
import sys
import time

INTERVAL = 0.2
_MOST = 100  # events per write
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n%s\r\n"


def reserve() -> socket.socket:
    """Return a socket that keeps a port for servers without listening there.

    Else, while a server is dead, the system might give the port to a client of it, who would then
    be talking to himself.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def listen(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    return sock


def data_of(stream: str, position: int) -> str:
    """Return what an event says; some are longer than a read."""
    length = 100_000 if position % 40 == 0 else position * 37 % 200
    return f"{stream} {position} " + "." * length


def due(stream: str, now: float) -> int:
    """Return the position of the latest event of a stream."""
    began = int(stream.rpartition("@")[2]) / 1000
    return 1 + int((now - began) / INTERVAL)


def _event(stream: str, position: int) -> bytes:
    return f"id: {stream}:{position}\ndata: {data_of(stream, position)}\n\n".encode()


class Server:
    def __init__(self, name: str) -> None:
        self.name = name
        self.visits = itertools.count(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.stream(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        visit = next(self.visits)
        cursor = ""
        for line in request.split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "last-event-id":
                cursor = value
        if cursor:
            stream, _, last = cursor.rpartition(":")
            position = int(last)
        else:
            stream, position = f"{self.name}.{visit}@{int(time.time() * 1000)}", 0
        # Every other body has no length of its own: where it is cut looks like a good end.
        chunked = visit % 2 == 0
        head = _HEAD % (b"Transfer-Encoding: chunked\r\n" if chunked else b"Connection: close\r\n")
        while not writer.is_closing():
            latest = min(due(stream, time.time()), position + _MOST)
            body = b"".join(_event(stream, one) for one in range(position + 1, latest + 1))
            if body and chunked:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if head or body:
                writer.write(head + body)
                await writer.drain()
            head, position = b"", max(position, latest)
            began = int(stream.rpartition("@")[2]) / 1000
            await asyncio.sleep(max(0.0, began + position * INTERVAL - time.time()) + 0.001)


async def main(port: int, name: str) -> None:
    server = await asyncio.start_server(Server(name).serve, sock=listen(port))
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, over.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await over.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
