"""The ``sansio-sse`` command: event streams for people and pipes.

An application like any other: it uses the public names of :mod:`sansio_sse` and of the asyncio
driver. What a stream does is decided there; here are arguments, output, signals and exit codes.
"""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage ends in SystemExit(2).

    Args:
        argv: The arguments, without the program's name. None: those of the process.
    """
    try:
        # Not at the top: loading asyncio and ssl takes a while, and Ctrl-C works from the first
        # moment.
        from .command import run

        return run(argv)
    except KeyboardInterrupt:
        return 130
