"""Instruments of an OpenTelemetry meter, over any number of connections, pools and stream sets.

Two kinds of them. ``http.client.request.duration`` is what the semantic conventions say: recorded
when it happens, on the driver's own thread. It ends at the head of the response, because an event
stream's body has no end worth measuring. All others, ``sse.client.*``, are observed when somebody
collects: those of :data:`~sansio_sse_metrics.INSTRUMENTS`.

Only the API is needed here; whoever wants to see something brings an SDK.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from sansio_sse import (
    ConnectionDriver,
    ConnectionInfo,
    ConnectionState,
    Origin,
    ReconnectExhausted,
    Response,
    SSEError,
    StateChanged,
    __version__,
    is_connection_error,
)

from .census import Census, News, Place, Source, Survey
from .instruments import INSTRUMENTS, OTHER, Instrument, Kind

try:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter
except ImportError as _error:
    _text = 'sansio_sse_metrics.opentelemetry needs: pip install "sansio-sse[opentelemetry]"'
    raise ImportError(_text) from _error

__all__ = ["REQUEST_DURATION", "Instrumentation", "instrument"]

REQUEST_DURATION = "http.client.request.duration"
"""The name of the histogram of the semantic conventions."""

# What the semantic conventions for HTTP metrics say of that histogram and its attributes.
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split())

_FRESH = 1.0  # seconds for which one survey serves the instruments of a collection

Attributes: TypeAlias = dict[str, str | int]


def instrument(*sources: Source, meter_provider: MeterProvider | None = None) -> "Instrumentation":
    """Have a meter show what connections, pools and stream sets of any driver count.

    ``meter_provider``: None for the global one. Add further sources to what is returned: a meter
    has each instrument once.

    >>> from sansio_sse_asyncio import connect
    >>> instrumentation = instrument(connect("https://example.com/events"))
    >>> instrumentation.close()
    """
    return Instrumentation(*sources, meter_provider=meter_provider)


class Instrumentation:
    """What :func:`instrument` returns: instruments, and the sources that they show.

    >>> from sansio_sse_asyncio import connect
    >>> instrumentation = instrument()
    >>> connection = connect("https://example.com/events")
    >>> instrumentation.add(connection)
    >>> instrumentation.remove(connection)
    """

    def __init__(self, *sources: Source, meter_provider: MeterProvider | None = None) -> None:
        meter = get_meter("sansio_sse", __version__, meter_provider)
        self._durations = meter.create_histogram(
            REQUEST_DURATION,
            unit="s",
            description="Duration of HTTP client requests, to the head of the response.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._census = Census(self._record)
        self._collection = _Collection(self._census)
        for row in INSTRUMENTS:
            _create(meter, row, self._collection)
        self._census.add(*sources)

    def add(self, *sources: Source) -> None:
        """Show these too, with what they have counted so far; from any thread.

        Their requests are recorded from now on. A connection is held until it is closed, a pool or
        a set until it is removed. Raises TypeError for anything else.
        """
        self._census.add(*sources)

    def remove(self, *sources: Source) -> None:
        """Let go of sources; what they have counted stays in the sums. From any thread.

        A source which is added again is counted again, from its beginning.
        """
        self._census.remove(*sources)

    def close(self) -> None:
        """Let go of all sources, and show nothing any more. Idempotent; from any thread."""
        self._collection.over = True
        self._census.clear()

    def _record(
        self, connection: ConnectionDriver[Any], news: News, info: ConnectionInfo, origin: str
    ) -> None:
        """Record an attempt that has its response, or will have none."""
        if isinstance(news, StateChanged):
            seconds = info.metrics.connect_durations.last
            response, failed = connection.response, None
            if news.new is not ConnectionState.CONNECTED:
                return
        else:
            failed = news.error
            seconds, response = failed.elapsed, failed.response
            # What gives up is told after the last failure, which it repeats.
            if isinstance(failed, ReconnectExhausted) or not is_connection_error(failed):
                return
        if seconds is not None:
            attributes = _of_origin(origin) | _of_request(info) | _of_outcome(response, failed)
            self._durations.record(seconds, attributes)


class _Collection:
    """One survey for all the instruments that are collected together.

    The API tells an instrument that it is collected, but not when a collection begins: it does when
    an instrument is asked again, or some time after the last one.
    """

    def __init__(self, census: Census) -> None:
        self.over = False
        self._census = census
        self._lock = threading.Lock()
        self._survey: Survey | None = None
        self._taken = 0.0
        self._served: set[str] = set()

    def survey(self, name: str) -> Survey:
        """Return what the instrument with this name is to show."""
        with self._lock:
            now = time.monotonic()
            if self._survey is None or name in self._served or now - self._taken > _FRESH:
                self._survey, self._taken = self._census.survey(), now
                self._served.clear()
            self._served.add(name)
            return self._survey


def _create(meter: Meter, row: Instrument, collection: _Collection) -> None:
    """Create what shows an instrument: of a histogram, its sum and its count."""
    if row.kind is Kind.HISTOGRAM:
        time_name, count_name = row.opentelemetry
        meter.create_observable_counter(
            time_name, [_callback(row, time_name, collection, _sum)], "s", f"{row.help} Summed."
        )
        meter.create_observable_counter(
            count_name,
            [_callback(row, count_name, collection, _count)],
            "1",
            f"{row.help} Counted.",
        )
        return
    create = {
        Kind.COUNTER: meter.create_observable_counter,
        Kind.SUM: meter.create_observable_up_down_counter,
        Kind.HIGHEST: meter.create_observable_gauge,
    }[row.kind]
    (name,) = row.opentelemetry
    create(name, [_callback(row, name, collection, _sum)], row.unit, row.help)


def _callback(
    row: Instrument, name: str, collection: _Collection, number: Callable[[Sequence[float]], float]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        if collection.over:
            return []
        survey = collection.survey(name)
        return [
            Observation(number(numbers), _attributes(row, labels))
            for labels, numbers in survey.of(row)
        ]

    return observe


def _sum(numbers: Sequence[float]) -> float:
    return numbers[-1]


def _count(numbers: Sequence[float]) -> float:
    return sum(numbers[:-1])


# --- Attributes --------------------------------------------------------------------------------


def _attributes(row: Instrument, labels: Place) -> Attributes:
    attributes: Attributes = {}
    for name, value in zip(row.labels, labels, strict=True):
        if name == "origin":
            attributes |= _of_origin(value)
        elif value:
            attributes[f"sse.{name}"] = value
    return attributes


def _of_origin(origin: str) -> Attributes:
    if origin == OTHER:
        return {"server.address": OTHER}
    scheme, host, port = Origin.of(origin)
    return {"url.scheme": scheme, "server.address": host, "server.port": port}


def _of_request(info: ConnectionInfo) -> Attributes:
    return {"http.request.method": info.method if info.method in _METHODS else "_OTHER"}


def _of_outcome(response: Response | None, error: SSEError | None) -> Attributes:
    attributes: Attributes = {} if error is None else {"error.type": type(error).__name__}
    if response is not None:
        attributes["http.response.status_code"] = response.status
        attributes["network.protocol.version"] = response.http_version
        if error is not None and response.status >= 400:
            attributes["error.type"] = str(response.status)
    return attributes
