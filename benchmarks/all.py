"""All benchmarks, one after the other.

Run::

    pip install -e . --group bench
    python benchmarks/all.py
    python benchmarks/all.py --short
    python benchmarks/all.py --short parsers pool

``tox -e bench`` does the second of these in an environment of its own, against the wheel. Tables go
to the standard output, in markdown, with the time that each benchmark took. Progress goes to the
standard error.
"""

import argparse
import runpy
import signal
import subprocess
import sys
import time
from functools import partial

from ratios import HERE, to_the_end

NAMES = ["parsers", "end_to_end", "adapters", "idle", "pool", "small", "monitoring"]
GRACE = 15.0  # seconds, for a benchmark that is interrupted and has to end its own processes


def run(name: str, arguments: list[str]) -> int:
    """Run one benchmark; return its exit status."""
    # In a session of its own it is interrupted by nobody but this process, and only once.
    process = subprocess.Popen(
        [sys.executable, __file__, "--run", name, *arguments],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        finally:
            process.kill()
        raise


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--short", action="store_true", help="fewer rounds")
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    options = arguments.parse_args()
    for name in options.names:
        if name not in NAMES:
            arguments.error(f"there is no benchmark {name!r}: {', '.join(NAMES)}")
    failed = []
    for name in options.names or NAMES:
        if not (HERE / f"{name}.py").exists():
            print(f"{name}: left out, there is none", file=sys.stderr)
            continue
        print(f"\n## {name}\n", flush=True)
        begun = time.monotonic()
        if run(name, ["--short"] if options.short else []):
            failed.append(name)
        minutes, seconds = divmod(round(time.monotonic() - begun), 60)
        print(f"\n{name} took {minutes} min {seconds} s", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        script = str(HERE / f"{sys.argv[2]}.py")
        sys.argv = [script, *sys.argv[3:]]
        to_the_end(partial(runpy.run_path, script, run_name="__main__"))
    else:
        to_the_end(main)
