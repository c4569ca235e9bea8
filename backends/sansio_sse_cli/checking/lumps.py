"""Is something on the way holding the stream back? Told by when its pieces come and where they end.

A *lump* is what came without a pause in between. Whoever writes events writes them whole: a lump of
his ends where an event ends, be it of one event or of a hundred, and so batches are no buffering. A
buffer knows nothing of events. It is passed on when it is full, and then it ends anywhere, most
often in the middle of a line, the rest of which comes after the next pause, when the buffer is full
again; its size is the same each time, and often a multiple of a KiB. That is what is looked for. A
buffer that is filled several times a second is not, and does no harm. What collects events for a
time and passes them on whole cannot be told from a server that writes batches, and is not accused.

Headers (Via, Server, X-Accel-Buffering) say who is on the way, not what he does: they are told as
hints and judge nothing. All here is pure.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ..terminal import duration, size
from .findings import Finding, Severity
from .reception import Lump, Reception
from .scan import Place

__all__ = ["judge_buffering", "torn"]

_SILENCE = 0.25  # s; a packet that was lost is sent again after 0.2 s and two round trips
_LONGEST_SILENCE = 2.0  # s; what takes so long to open has a slow name server
_KIB = 1024
_LATE = 1.0  # s without anything, after which many events at once are odd
_MANY = 3


def torn(lumps: Sequence[Lump], opening: float) -> list[Lump]:
    """Return lumps that end where only a buffer ends: within a line, with a silence behind it.

    A slow network tears writes, too, for a round trip at a time, and one that loses packets for
    0.2 s and two round trips. The silence must be longer; ``opening``, the seconds that opening the
    connection took, is no less than one round trip.
    An event that is written bit by bit, as a text is generated, ends within a line with every bit:
    so there must be two events in a lump, or as many bytes as a buffer has.
    """
    silence = min(_SILENCE + 2 * opening, _LONGEST_SILENCE)
    return [
        lump
        for lump, after in pairwise(lumps)
        if lump.place is Place.WITHIN
        and after.began - lump.ended >= silence
        and (lump.events >= 2 or _is_buffer(lump))
    ]


def _is_buffer(lump: Lump) -> bool:
    return lump.size >= _KIB and lump.size % _KIB == 0


def judge_buffering(heard: Reception) -> Finding:
    """Tell whether events come as they are sent."""
    lumps = heard.lumps
    cut = torn(lumps, heard.opening)
    held = [
        lump
        for before, lump in pairwise(lumps)
        if lump.heartbeats >= 2 and lump.began - before.ended >= _SILENCE
    ]
    if len(cut) >= 2:
        return _finding(heard, Severity.PROBLEM, _tell_torn(lumps, cut))
    if len(held) >= 2:
        seen = (
            f"{len(held)} times heartbeats came {held[0].heartbeats} at once: they were held back"
        )
        return _finding(heard, Severity.PROBLEM, seen)
    if cut or held:
        what = "ended within a line" if cut else "brought several heartbeats at once"
        seen = f"of {len(lumps)} lumps one {what}, as if a buffer had been full"
        return _finding(heard, Severity.WARNING, seen)
    if _came_at_the_end(heard):
        seen = (
            f"{heard.scan.size} bytes, {len(heard.events)} events, came all at once, when the"
            f" response ended, after {duration(lumps[-1].ended - (heard.opened_at or 0.0))};"
            " either the server had none before, or they were held back"
        )
        return _finding(heard, Severity.WARNING, seen)
    return _without_signs(heard)


def _without_signs(heard: Reception) -> Finding:
    lumps = heard.lumps
    whole = sum(lump.place is Place.BETWEEN for lump in lumps)
    events = sum(lump.events for lump in lumps)
    if heard.head_at is None:
        return Finding(
            "buffering",
            Severity.UNKNOWN,
            "not even a head came: a buffer that is not full yet looks like this, and so does a"
            " server that waits for its first event",
            "Cause events, many of them; if they come together, or never, it is a buffer.",
        )
    flowing = sum(lump.ended - lump.began for lump in lumps)
    if flowing >= _LATE and events >= _MANY:
        seen = f"{events} events came in a flow, without a pause for {duration(flowing)} in all"
        return Finding("buffering", Severity.OK, seen)
    if len(lumps) < _MANY or not events:
        count = f"{len(lumps)} piece{'' if len(lumps) == 1 else 's'} of the stream came"
        seen = f"{count}: too few" if events or not lumps else f"{count}, and no event"
        return Finding("buffering", Severity.UNKNOWN, seen, "Cause some events, or listen longer.")
    gaps = [after.began - lump.ended for lump, after in pairwise(lumps)]
    pace = f"{duration(median(gaps))} apart"
    if events / len(lumps) >= _MANY and whole == len(lumps):
        seen = (
            f"{len(lumps)} batches of whole events, {pace}: no buffer of a size does that; they"
            " were written so, or something passes them on by the clock"
        )
        return Finding("buffering", Severity.INFO, seen)
    if 2 * whole < len(lumps):
        seen = f"{len(lumps)} lumps, {pace}: they end anywhere, and the rest follows soon"
        return Finding("buffering", Severity.OK, seen)
    seen = f"{len(lumps)} lumps, {pace}, {whole} of them end with an event"
    return Finding("buffering", Severity.OK, seen)


def _came_at_the_end(heard: Reception) -> bool:
    """Tell whether a response of some length was silent until it was over."""
    lumps = heard.lumps
    if heard.over_at is None or heard.left or len(lumps) != 1 or heard.opened_at is None:
        return False
    late = lumps[0].began - heard.opened_at >= _LATE
    return late and lumps[0].events >= _MANY and heard.over_at - lumps[0].ended < _SILENCE


def _tell_torn(lumps: Sequence[Lump], cut: Sequence[Lump]) -> str:
    (common, count), *_ = Counter(lump.size for lump in cut).most_common(1)
    if 2 * count > len(cut):
        of = f"{'all' if count == len(cut) else 'most'} of {common} bytes"
    else:
        of = f"of {size(min(lump.size for lump in cut))} to {size(max(lump.size for lump in cut))}"
    after = {id(lump): next_.began - lump.ended for lump, next_ in pairwise(lumps)}
    gaps = [after[id(lump)] for lump in cut]
    return (
        f"{len(cut)} of {len(lumps)} lumps, {of}, end in the middle of a line, and"
        f" {duration(median(gaps))} later the line goes on: a buffer is filled and passed on"
    )


def _finding(heard: Reception, severity: Severity, seen: str) -> Finding:
    hints = _hints(heard)
    return Finding("buffering", severity, f"{seen}{f'; {hints}' if hints else ''}")


def _hints(heard: Reception) -> str:
    """Name who may be on the way, by what is no secret and no text of the server's own."""
    response = heard.response
    assert response is not None
    server = (response.header("server") or "").lower()
    found = [name for name in ("nginx", "apache", "cloudflare", "envoy", "caddy") if name in server]
    if response.header("via") is not None:
        found.append("a proxy that adds Via")
    if not found:
        return ""
    accel = response.header("x-accel-buffering")
    return f"on the way: {', '.join(found)}" + ("" if accel is None else ", X-Accel-Buffering sent")
