"""The forms in which events are printed, the same for every command that prints some."""

import argparse

from sansio_sse import ServerSentEvent

from .terminal import Channel, escape, to_json, to_readable

__all__ = ["Format", "add_format_arguments"]


def add_format_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare the options that choose a form; return their group, for more of the kind."""
    output = parser.add_argument_group("output")
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--raw", action="store_true", help="data alone, and a line end after each")
    return output


class Format:
    """The form that the arguments ask for, or that is right for where the output goes."""

    def __init__(self, args: argparse.Namespace, out: Channel) -> None:
        self._out = out
        self._raw: bool = args.raw
        self._json: bool = args.json or not out.is_terminal

    def __call__(self, event: ServerSentEvent, at: float | None = None) -> str:
        """Return an event as text; ``at`` is its time where that is not now."""
        if self._raw:
            return escape(event.data, keep="\n\t") if self._out.is_terminal else event.data
        return to_json(event) if self._json else to_readable(event, self._out.paint, at)
