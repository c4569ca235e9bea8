"""What it costs to be watched: by a collector of Prometheus, an observer, a log.

Run::

    pip install -e . --group bench
    python benchmarks/monitoring.py            # about a minute
    python benchmarks/monitoring.py --short    # fewer rounds

Connections are simulated, so nothing else is in the figures: no network, and no time that passes.
Times are CPU time; those that are compared take turns within a round, a ratio is taken within its
round, and the median is shown.

* *watched*: what connections do, with a collector over all of them, an observer on each, and a log
  at INFO that throws its lines away, over the same without any of it: an event each, and a stream
  that is cut and comes back;
* *looking*: one call of what monitors use, on a connection that has been cut a hundred times (its
  timeline is full);
* *scrape*: the text that Prometheus is sent, over so many connections in one origin.
"""

import argparse
import logging
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from ratios import cpu, heading, measure, ratio, shown, table, to_the_end

from sansio_sse import Log
from sansio_sse.testing import (
    Cut,
    Respond,
    SimulatedConnection,
    Simulation,
    Stall,
    send_event,
)
from sansio_sse_metrics.prometheus import SSECollector

URL = "https://api.example.com/events"
CONNECTIONS = 200
EVENTS = 50
CUTS = 20
CALLS = 1000
SIZES = (100, 1000, 10_000)

WATCH = Log(logging.getLogger, "benchmark")
logging.getLogger("benchmark").addHandler(logging.NullHandler())
logging.getLogger("benchmark").setLevel(logging.INFO)
logging.getLogger("benchmark").propagate = False


def simulated(connections: int, *, watched: bool, events: int, cuts: int) -> Simulation:
    """Connections that are all connected, and what happens to them from second 10 on."""
    cut = [Respond(), send_event("x"), Cut(after=10.0)]
    stay = [Respond(), *(send_event("x", at=10.0) for _ in range(events)), Stall()]
    left = dict.fromkeys(range(connections), cuts)

    def behave(request: Any) -> Any:
        number = int(request.target.rpartition("/")[2])
        left[number] -= 1
        return cut if left[number] >= 0 else stay

    simulation = Simulation(traced=False)
    simulation.network.server(URL, behave)
    collector = SSECollector()
    for number in range(connections):
        connection = simulation.connection(f"{URL}/{number}", reading=True, wait=False)
        if watched:
            collector.add(connection)
            connection.observe(lambda source, news: None)
        connection.open()
    simulation.run(until=5.0)
    return simulation


def take(*, watched: bool, events: int = 0, cuts: int = 0) -> float:
    """CPU seconds of what happens, without what leads there."""
    SimulatedConnection._log = WATCH if watched else None
    simulation = simulated(CONNECTIONS, watched=watched, events=events, cuts=cuts)
    seconds = cpu(partial(simulation.run, until=20.0 + 60.0 * cuts))
    assert all(c.state == "connected" for c in simulation.connections)
    return seconds


def watched_and_not(rounds: int) -> None:
    rows = []
    for what, number, options in (
        ("an event", CONNECTIONS * EVENTS, {"events": EVENTS}),
        ("a cut and the way back", CONNECTIONS * CUTS, {"cuts": CUTS}),
    ):
        times: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(rounds):
            for watched in (bool(turn % 2), not turn % 2):
                times[watched].append(take(watched=watched, **options))
        each = [statistics.median(times[key]) / number * 1e6 for key in (False, True)]
        rows.append([what, *map(shown, each), f"{ratio(times[True], times[False]):.2f}"])
    table(["watched", "µs without", "µs watched", "ratio"], rows)


def looking(rounds: int) -> None:
    SimulatedConnection._log = None
    simulation = simulated(1, watched=False, events=1, cuts=100)
    simulation.run(until=20.0 + 60.0 * 100)
    (connection,) = simulation.connections
    looks: dict[str, Callable[[], object]] = {
        "state": lambda: connection.state,
        "metrics": lambda: connection.metrics,
        "info()": connection.info,
        "timeline()": connection.timeline,
        "repr()": connection.__repr__,
    }

    def repeat(look: Callable[[], object]) -> None:
        for _ in range(CALLS):
            look()

    times = measure({name: partial(repeat, look) for name, look in looks.items()}, rounds)
    table(
        ["looking", "µs"],
        [[name, shown(statistics.median(each) / CALLS * 1e6)] for name, each in times.items()],
    )


def scrapes(rounds: int) -> None:
    rows = []
    for size in SIZES:
        simulation = simulated(size, watched=False, events=1, cuts=0)
        registry = CollectorRegistry()
        collector = SSECollector(*simulation.connections, registry=registry)
        simulation.run(until=20.0)
        times = measure({"": partial(generate_latest, registry)}, rounds)[""]
        text = generate_latest(registry)
        rows.append(
            [
                f"{size:,}",
                f"{statistics.median(times) * 1e3:.1f}",
                shown(statistics.median(times) / size * 1e6),
                f"{len(text) / 1024:.0f}",
            ]
        )
        collector.remove(*simulation.connections)
    table(["scrape, connections", "ms", "µs for each", "KiB"], rows)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer rounds")
    rounds = 5 if arguments.parse_args().short else 21
    print(heading(["sansio-sse", "prometheus-client"]))
    watched_and_not(rounds)
    looking(rounds)
    scrapes(rounds)


if __name__ == "__main__":
    to_the_end(main)
