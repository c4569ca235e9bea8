"""Is Last-Event-ID honoured? Told by asking for events that were seen before.

The first reception knows what followed what. A second asks to go on after an event near its end,
so what has to come is known. A third asks for nothing: what comes without a cursor must not be what
came with it, or the cursor made no difference. Some servers greet each client with an event of its
own, which is passed over. All here is pure.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from .findings import Finding, Severity
from .reception import Reception, Seen

__all__ = ["AFTER", "choose_cursor", "greeting", "judge_ids", "judge_resumption"]

AFTER = 3
"""So many known events, at most, follow the one that is asked to go on after."""
_LONG = 200  # characters; a cursor travels in a header


def with_ids(heard: Reception) -> list[Seen]:
    """Return the events which carry an id of their own."""
    return [seen for seen in heard.events if seen.has_id and seen.id]


def choose_cursor(heard: Reception) -> str | None:
    """Return the id to go on after, or None if nothing known would follow.

    Every event behind it has an id of its own, so that none is missed in the comparison.
    """
    ids = with_ids(heard)
    if len(ids) < 2 or len({seen.id for seen in ids}) < len(ids):
        return None
    return _cursor_and_owed(heard)[0].id


def greeting(heard: Reception, resumed: Reception) -> int:
    """Count the events with which the server greets before it goes on; 0 where it does not."""
    return _greeting(with_ids(resumed), *_cursor_and_owed(heard)) or 0


def _cursor_and_owed(heard: Reception) -> tuple[Seen, list[Seen]]:
    """Return the event to go on after, and those which followed it."""
    known = with_ids(heard)
    position = max(0, len(known) - 1 - AFTER)
    return known[position], known[position + 1 :]


def judge_ids(heard: Reception, quote: Callable[[str], str]) -> Finding:
    """Tell whether events can be named."""
    events, ids = heard.events, with_ids(heard)
    if not events:
        return Finding("ids", Severity.UNKNOWN, "no event came", "Cause some events.")
    if not ids:
        return Finding("ids", Severity.WARNING, f"none of {len(events)} events has an id")
    distinct = {seen.id for seen in ids}
    if len(distinct) < len(ids):
        (again, _), *_ = Counter(seen.id for seen in ids).most_common(1)
        seen = f"{len(ids)} events have {len(distinct)} ids: {quote(again)} came more than once"
        return Finding("ids", Severity.PROBLEM, seen)
    if len(ids) < len(events):
        seen = f"{len(ids)} of {len(events)} events have an id of their own"
        return Finding(
            "ids",
            Severity.WARNING,
            seen,
            "Give every event an id, or be sure that those without may be lost or repeated.",
        )
    odd = next((seen.id for seen in ids if not _travels(seen.id)), None)
    if odd is not None:
        return Finding(
            "ids",
            Severity.WARNING,
            f"an id cannot travel in a header everywhere: {quote(odd)}",
            "Use visible ASCII characters, and at most 200 of them.",
        )
    return Finding("ids", Severity.OK, f"all {len(ids)} events have an id, each another")


def _travels(id_: str) -> bool:
    return id_.isascii() and id_.isprintable() and id_ == id_.strip() and len(id_) <= _LONG


def judge_resumption(
    heard: Reception,
    resumed: Reception | None,
    control: Reception | None,
    quote: Callable[[str], str],
) -> Finding:
    """Tell whether what came with a cursor is what really followed."""
    cursor = choose_cursor(heard)
    if cursor is None:
        few = not heard.events or len(with_ids(heard)) == 1
        seen = (
            "fewer than two events with an id came"
            if few
            else "there are no ids, or not unique ones: there is nothing to go on after"
        )
        return _unknown(seen, "Cause some events, or listen longer." if few else "See ids.")
    if resumed is None:
        return _unknown("it was not asked for", "Let the check run to its end.")
    after, owed = _cursor_and_owed(heard)
    got = with_ids(resumed)
    if not got:
        return _nothing_came(resumed, len(owed), quote(cursor))
    greeted = _greeting(got, after, owed)
    if greeted is None:
        known = with_ids(heard)
        return _missed(known, len(known) - len(owed) - 1, got[0], quote)
    return _compare(owed, got, greeted, control, quote(cursor))


def _greeting(got: Sequence[Seen], after: Seen, owed: Sequence[Seen]) -> int | None:
    """Count what came before the first event that is owed.

    None: that did not come, or came behind the cursor, because everything did.
    """
    for number, seen in enumerate(got):
        if seen.id == owed[0].id:
            return number
        if seen.id == after.id:
            break
    return None


def _nothing_came(resumed: Reception, owed: int, cursor: str) -> Finding:
    response = resumed.response
    status = None if response is None else response.status
    follow = f"{owed} event{'' if owed == 1 else 's'} that had followed {cursor}"
    if status == 204 or (resumed.streams and resumed.ended):
        seen = f"the stream ended without the {follow}"
        return Finding("resumption", Severity.PROBLEM, seen)
    if resumed.streams and resumed.error is None:
        waited = f"none of the {follow} came within {resumed.listened:.1f} s"
        return _unknown(
            waited, "Listen longer; what never comes is held back, or the cursor is ignored."
        )
    what = f"the server answered {status}" if status not in (None, 200) else "no stream came"
    return _unknown(f"{what} when asked to go on after {cursor}", "See limits and connect.")


def _compare(
    owed: Sequence[Seen],
    got: Sequence[Seen],
    greeted: int,
    control: Reception | None,
    cursor: str,
) -> Finding:
    """Judge a stream that began with the right event, or greeted and went on with it."""
    pairs = list(zip(owed, got[greeted:], strict=False))
    for number, (one, other) in enumerate(pairs):
        if one.id != other.id:
            seen = f"after {cursor}, {number} came as before, then one is missing or another"
            return Finding("resumption", Severity.PROBLEM, seen)
        if (one.event, one.digest) != (other.event, other.digest):
            seen = f"after {cursor}, an id came again with other data"
            return Finding("resumption", Severity.PROBLEM, seen)
    anyway = with_ids(control) if control is not None else []
    if len(anyway) > greeted and anyway[greeted].id == owed[0].id:
        return _unknown(
            f"what followed {cursor} came, and came without Last-Event-ID, too",
            "Try again when more events have been sent.",
        )
    count = f"{len(pairs)} event{'' if len(pairs) == 1 else 's'}"
    without = "the stream begins elsewhere" if anyway else "no event came"
    seen = f"after {cursor} came the {count} that had followed; without Last-Event-ID {without}"
    return Finding("resumption", Severity.OK, seen)


def _missed(
    known: Sequence[Seen], position: int, first: Seen, quote: Callable[[str], str]
) -> Finding:
    """Judge a stream that began with a wrong event."""
    cursor = quote(known[position].id)
    order = [seen.id for seen in known]
    if first.id == order[position] and position > 0:
        return Finding(
            "resumption",
            Severity.WARNING,
            f"asked to go on after {cursor}, the server began with that event",
            "Begin with the event after the one that is named.",
        )
    if first.id in order[: position + 1]:
        seen = f"asked to go on after {cursor}, the server began again with {quote(first.id)}"
        return Finding("resumption", Severity.PROBLEM, f"{seen}: events come twice")
    return Finding(
        "resumption",
        Severity.PROBLEM,
        f"asked to go on after {cursor}, it went on with {quote(first.id)}: events are lost",
        "Read Last-Event-ID, and send first what came after that event. Where each event replaces"
        " all before it, send no ids.",
    )


def _unknown(seen: str, advice: str) -> Finding:
    return Finding("resumption", Severity.UNKNOWN, seen, advice)
