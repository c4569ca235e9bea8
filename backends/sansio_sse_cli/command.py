"""The command line: its subcommands, and how it speaks of mistakes.

A subcommand is a module of its name with ``SUMMARY``, ``add_arguments(parser)`` and, among the
parser's defaults, ``run(args)`` and ``parser``. Only the one that is asked for is loaded, or all of
them where they are listed.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from sansio_sse import __version__
from sansio_sse.errors import redact_text

from .process import fill_standard_streams, flush_standard_output
from .terminal import escape

__all__ = ["SUBCOMMANDS", "make_parser", "run"]

SUBCOMMANDS = ("tail", "record", "replay", "serve", "check", "dash", "demo")
"""Their names, which are those of their modules, in the order in which help lists them."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one line; argparse would print the whole usage, and urls as they were typed."""
        self.exit(
            2, f"{self.prog}: error: {escape(redact_text(message))} (see {self.prog} --help)\n"
        )


def make_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of ``only`` one subcommand."""
    parser = _Parser(
        prog="sansio-sse",
        description="Follow, record, replay, serve and examine Server-Sent Events.",
        epilog="sansio-sse COMMAND --help says more about each.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name in SUBCOMMANDS if only is None else (only,):
        module: Any = import_module(f".{name}", __package__)
        module.add_arguments(
            commands.add_parser(
                name, help=module.SUMMARY, description=f"{module.SUMMARY}.", allow_abbrev=False
            )
        )
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Read the arguments and run the subcommand they name."""
    fill_standard_streams()
    argv = sys.argv[1:] if argv is None else argv
    # The options that may stand before a subcommand end the program: it comes first or not at all.
    parser = make_parser(argv[0] if argv and argv[0] in SUBCOMMANDS else None)
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
