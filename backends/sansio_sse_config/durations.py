"""Durations as people write them: Go's syntax, by way of durationpy.

durationpy takes more than Go does, and more than anybody means: days, weeks, months ("1mm") and
years, digits of any script, and whatever stands between two parts ("1h, not 30m" is 90 minutes to
it). What is shorter than a microsecond becomes nothing. So the shape is checked before it is
asked, and the result after.
"""

import re

try:
    import durationpy
except ImportError as _error:
    _text = 'sansio_sse_config needs durationpy: pip install "sansio-sse[config]"'
    raise ImportError(_text) from _error

__all__ = ["seconds_of"]

# There are two signs for micro.
_DURATION = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_LONGEST = 64  # characters; Go's own longest, "2562047h47m16.854775807s", has 24


def seconds_of(text: str) -> float:
    """Return the seconds of a duration in Go's syntax, to the microsecond.

    Raises ``ValueError`` with a text that says what is wrong, without the value.

    >>> seconds_of("1h30m"), seconds_of("100ms"), seconds_of("0")
    (5400.0, 0.1, 0.0)
    >>> seconds_of("30")
    Traceback (most recent call last):
    ValueError: must have a unit (ns, us, ms, s, m or h)
    """
    if text in ("0", "+0", "-0"):
        return 0.0
    if len(text) > _LONGEST or not _DURATION.fullmatch(text):
        if len(text) <= _LONGEST and _NUMBER.fullmatch(text):
            raise ValueError("must have a unit (ns, us, ms, s, m or h)")
        raise ValueError('must be a duration such as "100ms", "30s" or "1h30m"')
    try:
        duration = durationpy.from_str(text)
    except (ValueError, OverflowError):  # its own is a ValueError; old ones leak others
        raise ValueError("is longer than a duration can be") from None
    if not duration and re.search("[1-9]", text):
        raise ValueError("is shorter than a microsecond")
    return duration.total_seconds()
