"""The short form of ``run.py``, and that its book finds what it is there to find."""

import random
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from sansio_sse import PoolStats

from .book import PATIENCE, SLACK, Book, Step
from .run import run
from .server import data_of

SECONDS = 3.0

BEGAN = "a1.1@1700000000000"
OTHER = "b1.1@1700000000000"


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="servers are killed by signals")
@pytest.mark.parametrize("driver", ["asyncio", "trio", "sockets"])
def test_nothing_is_lost_while_servers_are_killed(driver: str) -> None:
    book = run(driver, SECONDS, seed=random.Random(driver).randrange(1000))
    assert not book.wrong, book.report()
    assert book.counts["kills"] > 0
    assert book.counts["members"] > 100
    assert book.counts["events"] > 500


def lease(number: int) -> Any:
    return SimpleNamespace(info=lambda: SimpleNamespace(id=number))


def event(stream: str, position: int, data: str | None = None) -> Any:
    text = data_of(stream, position) if data is None else data
    return SimpleNamespace(id=f"{stream}:{position}", data=text)


def read(book: Book, *events: Any, scope: str = "a", unread: Any = "keep", number: int = 1) -> None:
    book.begin(lease(number), scope)
    for one in events:
        book.take(number, one)
    book.end(number, unread)


def kinds(book: Book) -> list[str]:
    return [text.partition(":")[0] for text in book.wrong]


def test_the_book_is_content_with_streams_in_order() -> None:
    book = Book()
    read(book, event(BEGAN, 1), event(BEGAN, 2))
    read(book, event(OTHER, 1), scope="b", number=2)
    read(book)
    read(book, event(BEGAN, 3), unread="drop")
    read(book, event(BEGAN, 9), event(BEGAN, 10))
    assert (kinds(book), book.dropped, book.counts["events"]) == ([], 5, 6)


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([event(BEGAN, 2)], "lost"),
        ([event(BEGAN, 1), event(BEGAN, 3)], "lost"),
        ([event(BEGAN, 1), event(BEGAN, 1)], "duplicated"),
        ([event(BEGAN, 1), event(BEGAN, 2), event(BEGAN, 1)], "duplicated"),
        ([event(BEGAN, 1), event(OTHER, 1)], "lost"),
        ([event(BEGAN, 1, "half of i")], "damaged"),
    ],
)
def test_the_book_finds_what_is_wrong_with_events(events: list[Any], kind: str) -> None:
    book = Book()
    for one in events:
        read(book, one)
    assert kinds(book) == [kind]


def test_the_book_finds_members_and_streams_that_are_not_ones_own() -> None:
    book = Book()
    read(book, event(BEGAN, 1))
    read(book, scope="b")
    read(book, event(BEGAN, 2), number=2)
    book.begin(lease(3), "a")
    book.begin(lease(3), "a")
    assert kinds(book) == ["crossed", "crossed", "lost", "shared"]


def test_the_book_finds_waiters_that_wait_for_too_long() -> None:
    book = Book()
    step = Step("", PATIENCE, 0, 0.0, "keep", 0.0)
    book.waited("granted", 0.0, step)
    book.waited("timed out", 1e9, step)
    assert kinds(book) == ["stuck", "timeout"]
    assert SLACK < PATIENCE


def test_the_book_finds_numbers_that_do_not_add_up() -> None:
    book = Book()
    book.check_stats(PoolStats(max_size=1))
    assert kinds(book) == []
    book.check_stats(PoolStats(max_size=1, total=1, idle=1, acquire_requests=2, acquire_timeouts=1))
    assert [text.split()[1] for text in book.wrong] == ["opens:", "acquires:"]


def test_the_book_finds_what_is_left() -> None:
    book = Book()
    book.left("files", 0)
    book.left("files", 2)
    assert kinds(book) == ["leaked"]
