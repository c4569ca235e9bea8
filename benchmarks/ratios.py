"""What the benchmarks have in common: ratios of CPU time, tables, and processes that end.

Absolute times mean nothing on a shared machine. So contestants take turns within a round, a ratio
is taken within its round, and what is shown is the median over the rounds.
"""

import datetime
import gc
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

HERE = Path(__file__).resolve().parent


def heading(distributions: Iterable[str]) -> str:
    """Say what is measured, on what, and when."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    versions = [f"{name} {metadata.version(name)}" for name in distributions]
    return ", ".join([python, system, datetime.date.today().isoformat(), *versions])


def installed(names: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names whose distributions are all there; say on stderr which are left out."""
    found = []
    for name, distributions in names.items():
        try:
            for distribution in distributions:
                metadata.version(distribution)
        except metadata.PackageNotFoundError as error:
            print(f"{name}: left out, {error.name} is not installed", file=sys.stderr)
        else:
            found.append(name)
    return found


def in_turn(items: Sequence[T], number: int) -> list[T]:
    """Return the items in the order of this round: each round begins with another one."""
    first = number % len(items)
    return [*items[first:], *items[:first]]


def cpu(run: Callable[[], object]) -> float:
    """Return the CPU seconds of one run."""
    gc.collect()
    before = time.process_time()
    run()
    return time.process_time() - before


def measure(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each run in each round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in in_turn(list(runs), number):
            times[name].append(cpu(runs[name]))
    return times


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def shown(value: float) -> str:
    """Two digits that count, which is what these numbers are good for."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in GitHub's markdown."""
    print(f"\n| {' | '.join(head)} |")
    print("|---" * len(head) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def chosen(names: Iterable[str], parts: Sequence[str], always: Sequence[str] = ()) -> list[str]:
    """Return the names that contain one of the parts, all if there are none."""
    return [
        name for name in names if not parts or name in always or any(part in name for part in parts)
    ]


# Processes. Each has a session of its own: an interrupt from the terminal reaches the parent alone,
# which ends its children itself. So nobody else has a traceback to print.


@contextmanager
def child(*command: str) -> Iterator[Any]:
    """Run a process that ends when its standard input does."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        try:
            process.stdin.close()
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass  # killed, then
        finally:
            process.kill()
            process.wait()


def output_of(*command: str, patience: float | None = None) -> str | None:
    """Return what a process printed, None if it failed or took longer than ``patience`` seconds.

    What it had to say about that is on stderr.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        print(f"ended after {patience:.0f} s: {' '.join(command)}", file=sys.stderr)
        return None
    return None if done.returncode else done.stdout


def terminated(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


def to_the_end(main: Callable[[], object]) -> None:
    """Run a benchmark. An interrupt ends it and its children, without a traceback."""
    signal.signal(signal.SIGTERM, terminated)
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
