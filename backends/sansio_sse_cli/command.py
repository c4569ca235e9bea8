"""The command line: its subcommands, and how it speaks of mistakes.

A subcommand is a module with ``SUMMARY``, ``add_arguments(parser)`` and, among the parser's
defaults, ``run(args)``.
"""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from sansio_sse import __version__
from sansio_sse.errors import redact_text

from . import demo, tail
from .process import fill_standard_streams, flush_standard_output
from .terminal import escape

__all__ = ["make_parser", "run"]

_SUBCOMMANDS = {"tail": tail, "demo": demo}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one line; argparse would print the whole usage, and urls as they were typed."""
        self.exit(
            2, f"{self.prog}: error: {escape(redact_text(message))} (see {self.prog} --help)\n"
        )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="sansio-sse",
        description="Follow Server-Sent Events from the command line.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in _SUBCOMMANDS.items():
        module.add_arguments(
            commands.add_parser(
                name, help=module.SUMMARY, description=f"{module.SUMMARY}.", allow_abbrev=False
            )
        )
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Read the arguments and run the subcommand they name."""
    fill_standard_streams()
    parser = make_parser()
    try:
        args, rest = parser.parse_known_args(argv)
        if rest:
            args.parser.error(_unrecognized(rest))
        code: int = args.run(args)
        return code
    finally:
        flush_standard_output()


def _unrecognized(rest: Sequence[str]) -> str:
    """Name unknown options; a stray value may be half of an unquoted header: it is only counted."""
    options = [text.partition("=")[0] for text in rest if text.startswith("--")]
    strays = len(rest) - len(options)
    parts = [f"unknown option {option}" for option in options]
    if strays:
        parts.append(f"{strays} argument{'' if strays == 1 else 's'} too many: are blanks quoted?")
    return ", ".join(parts)
