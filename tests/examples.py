"""Runs the examples of the documentation as their readers do, as programs of their own."""

import os
import subprocess
import sys

from contract.server import Peer, Script, Seen
from tree import ROOT

__all__ = ["CUT_ONCE", "EXAMPLES", "TICKS", "run_example"]

EXAMPLES = ROOT / "docs" / "examples"


def run_example(
    name: str, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run one, with warnings as errors, on what this process imports."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _ticks(peer: Peer, first: int) -> None:
    peer.stream(chunked=True)
    for number in range(first, first + 3):
        peer.event(f"tick {number}", id=str(number))


def _cut(peer: Peer, _seen: Seen) -> None:
    _ticks(peer, 1)
    peer.close()  # in the middle of a chunked body


def _end(peer: Peer, _seen: Seen) -> None:
    _ticks(peer, 4)
    peer.end()


def _stop(peer: Peer, _seen: Seen) -> None:
    peer.respond(204)


CUT_ONCE: list[Script] = [_cut, _end, _stop]
"""Three events and a cut; three more and a good end; and "do not come again"."""

TICKS = "".join(f"{number} tick {number}\n" for number in range(1, 7))
"""What an example prints of it."""
