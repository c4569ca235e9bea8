"""What was sent, against what came out. It knows neither the servers nor the client."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sansio_sse import ServerSentEvent

__all__ = ["Verdict", "judge", "ranges"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was sent, against what came out; lists are of the events' ids."""

    sent: int
    """Distinct events in the servers' log."""
    received: int
    """Events that came out, repetitions included."""
    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    out_of_order: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    """Came out with another type or other data than was sent, or was never sent."""

    @property
    def good(self) -> bool:
        """Whether every event came out, once, in order, as it was sent."""
        return not (self.lost or self.duplicated or self.out_of_order or self.altered)


def judge(
    sent: Iterable[ServerSentEvent], received: Iterable[ServerSentEvent], last: int = 0
) -> Verdict:
    """Compare servers' logs, in which an event may stand several times, with what a client got.

    An id is a number, or a stream's name and a number: ``a1:7``. Where every stream goes on to the
    number ``last``, what nobody sent because nobody asked for it any more is lost, too.

    >>> one, two, three = (ServerSentEvent(data=f"no. {n}", id=str(n)) for n in (1, 2, 3))
    >>> judge([one, two, two, three], [one, two, three]).good
    True
    >>> verdict = judge([one, two, three], [three, one, one])
    >>> verdict.lost, verdict.duplicated, verdict.out_of_order
    (('2',), ('1',), ('1',))
    >>> judge([one, two, three], [one, two, three], last=5).lost
    ('4', '5')
    """
    log = {event.id: (event.event, event.data) for event in sent}
    came: Counter[str] = Counter()
    altered: list[str] = []
    out_of_order: list[str] = []
    newest: dict[str, int] = {}
    for event in received:
        stream, number = _place(event.id)
        if log.get(event.id) != (event.event, event.data):
            altered.append(event.id)
        elif number < newest.get(stream, 0) and not came[event.id]:
            out_of_order.append(event.id)
        newest[stream] = max(number, newest.get(stream, 0))
        came[event.id] += 1
    owed = log.keys() | _through(log, last)
    return Verdict(
        sent=len(log),
        received=came.total(),
        lost=tuple(sorted(owed - came.keys(), key=_place)),
        duplicated=tuple(sorted((id_ for id_, count in came.items() if count > 1), key=_place)),
        out_of_order=tuple(out_of_order),
        altered=tuple(altered),
    )


def _through(ids: Iterable[str], last: int) -> set[str]:
    """Return the ids of each stream from the first that is there to number ``last``."""
    first: dict[str, int] = {}
    for stream, number in map(_place, ids):
        first[stream] = min(number, first.get(stream, number))
    return {
        f"{stream}:{number}" if stream else str(number)
        for stream, start in first.items()
        for number in range(start, last + 1)
    }


def _place(id_: str) -> tuple[str, int]:
    stream, _, number = id_.rpartition(":")
    return stream, int(number) if number.isdecimal() else 0


def ranges(ids: Iterable[str]) -> str:
    """Return ids for people.

    >>> ranges(["1", "2", "3", "7"]), ranges(["a1:8", "a1:9", "b1:10"])
    ('1-3, 7', 'a1:8-9, b1:10')
    """
    runs: list[tuple[str, int, int]] = []  # an id, its number, and the last number of its run
    for id_ in ids:
        stream, number = _place(id_)
        if runs and _place(runs[-1][0])[0] == stream and number == runs[-1][2] + 1:
            runs[-1] = (*runs[-1][:2], number)
        else:
            runs.append((id_, number, number))
    return ", ".join(id_ if last == first else f"{id_}-{last}" for id_, first, last in runs)
