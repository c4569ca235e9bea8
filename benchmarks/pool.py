"""What a pool's decisions cost, with a thousand members and with a hundred thousand.

Run::

    python benchmarks/pool.py            # half a minute
    python benchmarks/pool.py --short    # fewer rounds

No sockets: a ``PoolMachine`` is told what a driver would tell it, about members that are picked at
random among all there are. Ten members have a key in common. Each operation is done a few hundred
times with each size in turn; the table shows the medians of the rounds, in µs of CPU time for one
operation, and how they compare to the smallest size. What it demands is that nothing takes more
than one and a half times as long with the largest; else it exits with 1.

The garbage collection is switched off meanwhile: how long it takes is a matter of all objects that
the process has.
"""

import argparse
import gc
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sansio_sse import (
    BreakerConfig,
    ConnectionLost,
    Origin,
    PoolConfig,
    PoolMachine,
)
from sansio_sse.members import Admit, GrantLease, OpenMember

SIZES = (1000, 10_000, 100_000)
AT_MOST = 1.5
BATCH = 250
PER_KEY = 10
CONNECTING = BATCH
TICK = 0.001  # seconds that pass with each operation
ORIGIN = Origin("http", "a.example", 80)
LOST = ConnectionLost("the peer reset the connection")


class Bench:
    """A machine with members, all of which are leased at first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.now = 0.0
        self.random = random.Random(size)
        config = PoolConfig(
            [f"http://{name}.example/events" for name in "abc"],
            max_size=size,
            max_connecting=CONNECTING,
            max_idle=1e9,  # nobody leaves
            acquire_timeout=0.5,
            max_backlog_age=2.0,
            breaker=BreakerConfig(failures=10**9),
        )
        self.machine = PoolMachine(config)
        self.keys = [f"scope {number // PER_KEY}" for number in range(size)]
        self.members: list[int] = []
        self.leases: dict[int, int] = {}
        self.key_of: dict[int, str] = {}
        for key in self.keys:
            opened = self.machine.acquire("it", key, self.now)[-1]
            assert isinstance(opened, OpenMember)
            member = opened.member
            self.machine.admission_requested(member, 1, self.now)
            self.granted(self.machine.connected(member, self.now))
            self.machine.event_seen(member, self.now)
            self.members.append(member)
            self.key_of[member] = key
        for number in range(size):
            self.machine.transport_kept(number, ORIGIN, 1e9, self.now)
        self.kept = size
        self.under_way: deque[int] = deque()
        self.machine.tick(self.time(10.0))

    def time(self, seconds: float = TICK) -> float:
        self.now += seconds
        return self.now

    def granted(self, actions: Any) -> int:
        member: int
        for action in actions:
            if isinstance(action, GrantLease):
                member = action.member
                self.leases[member] = action.lease
                return member
        raise AssertionError("nobody was granted a lease")

    def some(self) -> list[int]:
        return self.random.sample(self.members, BATCH)

    def timed(self, call: Callable[[Any], Any], items: Iterable[Any]) -> tuple[float, list[Any]]:
        """Return what one call costs, in µs, and all answers."""
        answers: list[Any] = []
        before = time.process_time_ns()
        for item in items:
            answers.append(call(item))
        return (time.process_time_ns() - before) / len(answers) / 1000, answers


# Each yields names and µs. What they do besides is to leave the machine as they found it.


def full(bench: Bench) -> Iterator[tuple[str, float]]:
    """Everything is in use: who comes has to wait."""
    machine, key_of = bench.machine, bench.key_of
    chosen = bench.some()

    def turn(member: int) -> Any:
        machine.acquire(member, key_of[member], bench.time())
        return machine.release(bench.leases[member], bench.time())

    cost, answers = bench.timed(turn, chosen)
    for answer in answers:
        bench.granted(answer)
    yield "acquire waits, release grants", cost

    def give_up(member: int) -> None:
        machine.acquire(member, key_of[member], bench.time())
        machine.cancel(member, bench.time())

    yield "acquire waits, cancel", bench.timed(give_up, chosen)[0]
    cost, _ = bench.timed(lambda member: machine.event_seen(member, bench.time()), chosen)
    yield "event_seen, again", cost

    # Their deadlines come one by one; nobody waits for them any more.
    for number in range(BATCH):
        machine.acquire(number, key_of[chosen[number]], bench.time(), timeout=0.2)
        machine.cancel(number, bench.now)
    machine.tick(bench.time(0.0))
    assert machine.deadline is not None
    bench.now = machine.deadline
    yield "tick, something is due", bench.timed(lambda _: machine.tick(bench.time()), chosen)[0]
    yield "tick, nothing is due", bench.timed(lambda _: machine.tick(0.0), chosen)[0]


def half(bench: Bench) -> Iterator[tuple[str, float]]:
    """Every other member is idle."""
    machine, key_of = bench.machine, bench.key_of
    idle = bench.random.sample(bench.members[::2], BATCH)

    def acquire(member: int) -> Any:
        return machine.acquire("it", key_of[member], bench.time())

    def release(member: int) -> Any:
        return machine.release(bench.leases[member], bench.time())

    cost, answers = bench.timed(acquire, idle)
    yield "acquire, one is idle", cost
    members = [bench.granted(answer) for answer in answers]
    yield "release", bench.timed(release, members)[0]

    def backlog(member: int) -> Any:
        return machine.backlog(member, bench.time(), full=True, resumable=True)

    yield "backlog, full", bench.timed(backlog, members)[0]
    yield "backlog, again", bench.timed(backlog, members)[0]
    again = [bench.granted(acquire(member)) for member in members]
    for member in again:
        release(member)

    steps: list[tuple[str, Callable[[int], Any]]] = [
        ("lost", lambda one: machine.lost(one, bench.time(), LOST)),
        ("admission_requested", lambda one: machine.admission_requested(one, 2, bench.time())),
        ("attempt_failed", lambda one: machine.attempt_failed(one, LOST, bench.time())),
        ("", lambda one: machine.admission_requested(one, 3, bench.time())),
        ("connected", lambda one: machine.connected(one, bench.time())),
        ("event_seen", lambda one: machine.event_seen(one, bench.time())),
    ]
    for name, step in steps:
        cost, _ = bench.timed(step, idle)
        if name:
            yield name, cost

    def pass_on(_: int) -> None:
        assert machine.reuse_transport(ORIGIN, bench.time()) is not None
        bench.kept += 1
        machine.transport_kept(bench.kept, ORIGIN, 1e9, bench.now)

    yield "reuse_transport, transport_kept", bench.timed(pass_on, idle)[0]


def crowd(bench: Bench) -> Iterator[tuple[str, float]]:
    """Every other member wants to connect, and few may."""
    machine = bench.machine
    chosen = [bench.under_way.popleft() for _ in range(BATCH)]

    def note(answers: list[Any]) -> None:
        for answer in answers:
            bench.under_way += [one.member for one in answer if isinstance(one, Admit)]

    cost, answers = bench.timed(lambda one: machine.connected(one, bench.time()), chosen)
    note(answers)
    yield "connected, others wait in line", cost
    for member in chosen:
        machine.lost(member, bench.time(), LOST)
    cost, answers = bench.timed(
        lambda one: machine.admission_requested(one, 5, bench.time()), chosen
    )
    note(answers)
    yield "admission_requested, waits in line", cost


def empty_half(bench: Bench) -> None:
    """Give every other member back."""
    for member in bench.members[::2]:
        bench.machine.release(bench.leases[member], bench.now)


def lose_half(bench: Bench) -> None:
    """All that are idle lose their streams, and want new ones."""
    for member in bench.members[::2]:
        bench.machine.lost(member, bench.now, LOST)
    for member in bench.members[::2]:
        actions = bench.machine.admission_requested(member, 4, bench.now)
        bench.under_way += [one.member for one in actions if isinstance(one, Admit)]


def measure(
    benches: list[Bench], phase: Callable[[Bench], Iterator[tuple[str, float]]], rounds: int
) -> dict[str, list[float]]:
    """Return the median cost of each operation for each size."""
    costs: dict[str, list[list[float]]] = {}
    for number in range(rounds + 1):
        for position, bench in enumerate(benches):
            for name, cost in phase(bench):
                if number:  # the first one warms up
                    costs.setdefault(name, [[] for _ in benches])[position].append(cost)
    return {name: [statistics.median(one) for one in each] for name, each in costs.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer rounds")
    options = arguments.parse_args()
    rounds = 25 if options.short else 101
    gc.collect()
    gc.disable()
    benches = [Bench(size) for size in SIZES]
    costs = measure(benches, full, rounds)
    for bench in benches:
        empty_half(bench)
    costs |= measure(benches, half, rounds)
    for bench in benches:
        lose_half(bench)
    costs |= measure(benches, crowd, rounds)

    print(f"| µs, with members: | {' | '.join(f'{size:,}' for size in SIZES)} | ratios |")
    print("|---" * (len(SIZES) + 2) + "|")
    late = []
    for name, medians in costs.items():
        ratios = [median / medians[0] for median in medians[1:]]
        shown = " | ".join(f"{median:.2f}" for median in medians)
        print(f"| {name} | {shown} | {', '.join(f'{ratio:.2f}' for ratio in ratios)} |")
        if ratios[-1] > AT_MOST:
            late.append(name)
    if late:
        sys.exit(f"more than {AT_MOST} times as long: {', '.join(late)}")


if __name__ == "__main__":
    main()
