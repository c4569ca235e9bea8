"""What was sent, against what came out."""

from sansio_sse import ServerSentEvent
from sansio_sse_cli.verdict import Verdict, judge


def event(number: int, data: str = "", kind: str = "message") -> ServerSentEvent:
    return ServerSentEvent(kind, data or f"no. {number}", str(number))


def judged(*received: ServerSentEvent) -> Verdict:
    return judge([event(1), event(2), event(2), event(3)], received)


def test_every_event_once_and_in_order_is_good() -> None:
    assert judged(event(1), event(2), event(3)) == Verdict(sent=3, received=3)
    assert judged(event(1), event(2), event(3)).good


def test_what_is_wrong_is_found() -> None:
    assert judged(event(1), event(3)) == Verdict(3, 2, lost=("2",))
    assert judged(event(1), event(2), event(2), event(3)) == Verdict(3, 4, duplicated=("2",))
    assert judged(event(2), event(1), event(3)) == Verdict(3, 3, out_of_order=("1",))
    assert judged(event(1), event(2, "no"), event(3)) == Verdict(3, 3, altered=("2",))
    assert judged(event(1), event(2, kind="no"), event(3)) == Verdict(3, 3, altered=("2",))
    never_sent = ServerSentEvent(data="invented", id="x")
    assert judged(event(1), event(2), event(3), never_sent) == Verdict(3, 4, altered=("x",))
    for bad in (
        Verdict(3, 2, lost=("2",)),
        Verdict(3, 4, duplicated=("2",)),
        Verdict(3, 3, out_of_order=("1",)),
        Verdict(3, 3, altered=("2",)),
    ):
        assert not bad.good


def numbered(stream: str, *numbers: int) -> list[ServerSentEvent]:
    return [ServerSentEvent("message", f"{stream} {n}", f"{stream}:{n}") for n in numbers]


def test_streams_are_judged_each_by_itself() -> None:
    a, b = numbered("a1", 1, 2, 9, 10), numbered("b1", 1, 2)
    assert judge(a + b, [a[0], b[0], a[1], a[2], b[1], a[3]]) == Verdict(sent=6, received=6)
    verdict = judge(a + b, [a[0], b[1], b[0], a[0]])
    assert verdict.lost == ("a1:2", "a1:9", "a1:10")
    assert verdict.duplicated == ("a1:1",)
    assert verdict.out_of_order == ("b1:1",)


def test_what_nobody_was_asked_for_is_lost() -> None:
    cut, gap, whole = numbered("a1", 3, 4), numbered("b1", 3, 5), numbered("c1", 4, 5)
    sent = cut + gap + whole
    assert judge(sent, sent).good
    assert judge(sent, sent, last=5) == Verdict(6, 6, lost=("a1:5", "b1:4"))
