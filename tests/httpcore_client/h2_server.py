"""A scripted HTTP/2 server on loopback: TLS, and h2 for the frames.

Each connection has a thread of :class:`~contract.server.Server`, which alone touches the socket and
the state of h2. What a test wants sent is queued, and written at that thread's next turn.
"""

import queue
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from contract.fixtures import Certificates
from contract.server import Gone, Peer, Server, Visit
from sansio_sse import encode_event

__all__ = ["H2Server", "H2Stream", "follow"]

_TURN = 0.003  # seconds between two looks at what is to be sent


class H2Stream:
    """One request, and how to answer it; from any thread."""

    def __init__(self, connection: "_Connection", number: int, headers: dict[str, str]) -> None:
        self._connection = connection
        self.number = number
        self.headers = headers
        self.method = headers[":method"]
        self.path = headers[":path"]
        self.body = b""
        self.visit: Visit = connection.peer.visit
        self.told = threading.Event()
        """The client has reset it."""

    def respond(self, status: int = 200, *headers: tuple[str, str], end: bool = False) -> None:
        """Send a head."""
        fields = [(":status", str(status)), *headers]
        self._connection.do(lambda h2: h2.send_headers(self.number, fields, end_stream=end))

    def stream(self, *headers: tuple[str, str]) -> None:
        """Send the head of an event stream."""
        self.respond(200, ("content-type", "text/event-stream"), *headers)

    def data(self, data: bytes) -> None:
        """Send a piece of the body, as soon as the client lets it."""
        self._connection.do(lambda h2: self._connection.write(self.number, data))

    def event(self, data: str, *, id: str | None = None) -> None:
        """Send one event."""
        self.data(encode_event(data, id=id))

    def end(self) -> None:
        """End the body well."""
        self._connection.do(lambda h2: h2.end_stream(self.number))

    def reset(self) -> None:
        """Break this stream, and no other."""
        self._connection.do(lambda h2: h2.reset_stream(self.number, h2_error("INTERNAL_ERROR")))

    def go_away(self, reason: bytes = b"") -> None:
        """End the whole connection, as a server does that is shut down."""
        self._connection.do(lambda h2: h2.close_connection(additional_data=reason))

    def send_garbage(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.do(lambda h2: self._connection.peer.send(data))


Script = Callable[[H2Stream], None]


def h2_error(name: str) -> Any:
    return h2.errors.ErrorCodes[name]


def follow(stream: H2Stream) -> None:
    """Begin an event stream, and leave it open."""
    stream.stream()


class _Connection:
    """One connection, on its thread."""

    def __init__(self, server: "H2Server", peer: Peer) -> None:
        self.server = server
        self.peer = peer
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        self.streams: dict[int, H2Stream] = {}
        self.wanted: queue.SimpleQueue[Callable[[Any], object]] = queue.SimpleQueue()
        self.waiting: dict[int, bytes] = {}  # bodies that the client does not let out yet

    def do(self, what: Callable[[Any], object]) -> None:
        self.wanted.put(what)

    def serve(self) -> None:
        if self.server.streams_at_once is not None:
            limit = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.server.streams_at_once}
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=limit)
        self.h2.initiate_connection()
        self.peer.sock.settimeout(_TURN)
        while True:
            self.peer.server.check()
            self.flush()
            self.read()
            self.write_on()
            while not self.wanted.empty():
                try:
                    self.wanted.get()(self.h2)
                except h2.exceptions.ProtocolError:
                    pass  # the client is through with this stream

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.peer.send(data)

    def read(self) -> None:
        try:
            data = self.peer.sock.recv(65536)
        except TimeoutError:
            return
        except OSError as error:
            raise Gone from error
        if not data:
            self.peer.visit.left = True
            raise Gone
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise Gone from error  # what a client still says after a goodbye
        for event in events:
            self.happened(event)

    def happened(self, event: Any) -> None:
        match event:
            case h2.events.RequestReceived():
                headers: list[Any] = event.headers or []
                stream = H2Stream(self, event.stream_id, dict(headers))
                self.streams[stream.number] = stream
            case h2.events.DataReceived():
                self.streams[event.stream_id].body += event.data or b""
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length or 0, event.stream_id
                )
            case h2.events.StreamEnded():
                stream = self.streams[event.stream_id]
                self.server.streams.append(stream)
                self.server.answer(stream)
            case h2.events.StreamReset():
                self.streams[event.stream_id].told.set()
            case _:
                pass

    def write(self, number: int, data: bytes) -> None:
        self.waiting[number] = self.waiting.get(number, b"") + data
        self.write_on()

    def write_on(self) -> None:
        for number, data in list(self.waiting.items()):
            try:
                room = self.h2.local_flow_control_window(number)
                size = min(room, self.h2.max_outbound_frame_size, len(data))
                self.h2.send_data(number, data[:size])
            except h2.exceptions.ProtocolError:
                self.waiting.pop(number)  # the client is through with it
                continue
            self.waiting[number] = data[size:]
            if not self.waiting[number]:
                self.waiting.pop(number)


class H2Server:
    """A server that speaks HTTP/2 alone; ``script`` answers each stream, on its thread."""

    def __init__(
        self,
        certificates: Certificates,
        script: Script = follow,
        *,
        streams_at_once: int | None = None,
    ) -> None:
        self.script = script
        self.streams_at_once = streams_at_once
        self.streams: list[H2Stream] = []
        self._server = Server(welcome=self._welcome, tls=_context(certificates))

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def origin(self) -> str:
        return self._server.origin

    @property
    def visits(self) -> list[Visit]:
        """The connections so far."""
        return self._server.visits

    @property
    def open_visits(self) -> int:
        return self._server.open_visits

    def answer(self, stream: H2Stream) -> None:
        self.script(stream)

    def to(self, path: str) -> list[H2Stream]:
        """Return the streams for one path so far."""
        return [stream for stream in self.streams if stream.path == path]

    def _welcome(self, peer: Peer) -> None:
        peer.server.start_tls(peer)
        _Connection(self, peer).serve()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.__exit__(kind, error, traceback)


def _context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain_file, certificates.key_file)
    context.set_alpn_protocols(["h2"])
    return context
