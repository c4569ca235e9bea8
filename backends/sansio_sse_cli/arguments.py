"""Options that several commands take, and their values, checked while they are read."""

import argparse
from math import inf

__all__ = ["add_end_arguments", "port", "seconds", "whole_number"]


def add_end_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare the options that say with which event to finish."""
    group.add_argument(
        "--until", metavar="TEXT", help="finish with the first event of this data or type"
    )
    group.add_argument(
        "-n", "--count", metavar="N", type=whole_number, help="finish after N events"
    )


def whole_number(text: str) -> int:
    """Read a count.

    >>> whole_number("12")
    12
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 18 or int(text) == 0:
        raise argparse.ArgumentTypeError("this is a whole number from 1")
    return int(text)


def seconds(text: str) -> float:
    """Read a time above 0.

    >>> seconds("0.5")
    0.5
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < inf:
        raise argparse.ArgumentTypeError("this is a number of seconds above 0")
    return value


def port(text: str) -> int:
    """Read a port; 0 is any that is free.

    >>> port("8000")
    8000
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError("this is a port, from 0 to 65535")
    return int(text)
