"""Bugs planted in the machines, and which check finds each of them.

Every mutant is a small change of a module's source. It is loaded beside the real package, with the
test that is to find it loaded anew on top of it; that one has to fail.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

# A model stops at the first bug, so that it may look far; in sound machines it looks less far.
BOUNDED = settings(
    max_examples=1000,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


class Mutant(NamedTuple):
    module: str
    right: str
    wrong: str
    killer: str
    """A test (module.name, perhaps with one argument), or a model."""


CONNECTION_MODEL = "test_connection_model.ConnectionModel"
WIRE_MODEL = "test_wire_model.WireModel"

MUTANTS = {
    "the cursor is forgotten with the stream": Mutant(
        "connection",
        "        self._cursor = cursor\n        self._gave_id",
        "        self._gave_id",
        WIRE_MODEL,
    ),
    "an abandoned exchange is not closed": Mutant(
        "connection",
        "            actions.append(Disconnect(self._stream))\n        self._stream = 0",
        "            pass\n        self._stream = 0",
        CONNECTION_MODEL,
    ),
    "a redirect leaves its first exchange open": Mutant(
        "connection",
        "  actions.append(Disconnect(self._stream))\n                self._number += 1",
        "  self._number += 1",
        "test_wire.test_a_redirect_moves_to_another_transport_and_drops_the_rest",
    ),
    "the deadline is not brought forward": Mutant(
        "connection",
        "now + self._config.timeouts.response)\n        return self._armed([])",
        "now + self._config.timeouts.response)\n        return []",
        CONNECTION_MODEL,
    ),
    "the parser's list is copied": Mutant(
        "connection",
        "        return events\n\n    def body_ended",
        "        return list(events)\n\n    def body_ended",
        WIRE_MODEL,
    ),
    "a retry counts as a connect": Mutant(
        "connection", "        if retrying:\n", "        if not retrying:\n", CONNECTION_MODEL
    ),
    "a failed attempt is not counted": Mutant(
        "connection",
        "            self._count_outcome(success=False)\n",
        "            pass\n",
        CONNECTION_MODEL,
    ),
    "a post has the number of the attempt": Mutant(
        "connection",
        "        self._number += 1\n        if self._posts is None:",
        "        if self._posts is None:",
        CONNECTION_MODEL,
    ),
    "close forgets the posts": Mutant(
        "connection",
        "for number, post in (self._posts or {}).items():",
        "for number, post in ():",
        WIRE_MODEL,
    ),
    "reconnecting is entered again and again": Mutant(
        "connection",
        "                if self._state is not _RECONNECTING:\n",
        "                if True:\n",
        CONNECTION_MODEL,
    ),
    "refused events advance the cursor": Mutant(
        "connection",
        "        self._cursor = last_id\n",
        "",
        "test_connection.test_a_refused_buffer_is_final_and_gives_the_cursor_back",
    ),
    "restart keeps the cursor that was replaced": Mutant(
        "connection",
        "        if cursor is not None:\n            self._cursor = cursor\n",
        "",
        CONNECTION_MODEL,
    ),
    "what follows the terminal event is skipped": Mutant(
        "connection",
        "            self._retire_parser(event.id)\n",
        "            self._retire_parser(self.received_event_id)\n",
        CONNECTION_MODEL,
    ),
    "time without reading is the server's silence": Mutant(
        "connection",
        "                self._last_life += unread\n",
        "",
        "test_connection.test_pausing_stops_the_reading_and_the_clock_of_silence",
    ),
    "a paused stream dies of silence": Mutant(
        "connection",
        "            if self._paused_at is None:\n                due = self._next_life",
        "            if True:\n                due = self._next_life",
        "test_connection.test_pausing_stops_the_reading_and_the_clock_of_silence",
    ),
    "being accepted is progress": Mutant(
        "connection",
        "        self._accepted_at = self._last_life = now\n",
        "        self._accepted_at = self._last_life = now\n        self._memory().progress()\n",
        "test_connection.test_being_accepted_is_no_progress_but_an_event_is",
    ),
    "a pong proves the stream": Mutant(
        "connection",
        "            beat.answered(self._beat_counters())\n",
        "            self._last_life = now\n            beat.answered(self._beat_counters())\n",
        "test_connection.test_a_half_open_stream_whose_server_answers_pings_dies_of_silence",
    ),
    "stale bytes are read": Mutant(
        "connection",
        "  if attempt != self._stream:\n            return NO_ACTIONS\n        if now > self._now:",
        "  if now > self._now:",
        CONNECTION_MODEL,
    ),
    "a stale pong counts": Mutant(
        "connection",
        " or beat.ping != ping or not ping:\n            return NO_ACTIONS\n"
        "        actions: Actions = []\n        if 200",
        ":\n            return NO_ACTIONS\n        actions: Actions = []\n        if 200",
        "test_connection.test_a_ping_is_abandoned_when_nobody_needs_its_answer:pause",
    ),
    "a POST is repeated after its redirect": Mutant(
        "connection",
        "                    self._acted = True",
        "                    self._acted = False",
        "test_connection.test_a_post_answered_by_a_redirect_to_a_get_has_had_its_effect:303:lost",
    ),
    "a transport that opens late leaks": Mutant(
        "wire",
        "            return [CloseTransport(transport)]\n        if side.opened",
        "            return NO_ACTIONS\n        if side.opened",
        WIRE_MODEL,
    ),
    "what is gone by itself is closed": Mutant(
        "wire",
        "                    if number != gone:\n",
        "                    if True:\n",
        WIRE_MODEL,
    ),
    "the body in the read of its head is dropped": Mutant(
        "wire",
        "        if payload and transport == self._stream:\n",
        "        if False:\n",
        WIRE_MODEL,
    ),
    "the end of a post is not noticed": Mutant(
        "wire",
        "        side.exchange.end()\n",
        "",
        "test_wire.test_a_post_may_be_answered_until_eof",
    ),
    "the end of a body is not noticed": Mutant(
        "wire",
        "        elif body.complete:\n",
        "        elif False:\n",
        "test_wire.test_the_last_chunk_is_the_end",
    ),
    "the answer to a post is unbounded": Mutant(
        "wire",
        "if len(side.content) + len(payload) > limit:",
        "if len(payload) > limit:",
        "test_wire.test_a_post_fails_with_a_reason:large:LimitExceeded",
    ),
    "retries are never used up": Mutant(
        "reconnection",
        "        self.retries += 1\n",
        "",
        "test_connection.test_attempts_are_used_up",
    ),
    "one retry too many": Mutant(
        "reconnection",
        "self.retries >= policy.max_attempts",
        "self.retries > policy.max_attempts",
        "test_connection.test_attempts_are_used_up",
    ),
    "what a server asks for is not capped": Mutant(
        "reconnection",
        "    floor = min(floor, policy.max_server_delay)\n",
        "",
        "test_connection.test_an_absurd_retry_field_is_capped",
    ),
    "misses do not add up": Mutant(
        "heartbeat",
        "else self.missed + 1",
        "else 1",
        "test_connection.test_misses_in_a_row_are_death:failure",
    ),
    "an answered ping is waited for": Mutant(
        "heartbeat",
        "        self.ping = 0\n        self.missed = 0\n",
        "        self.missed = 0\n",
        "test_connection.test_an_answer_in_time_clears_the_misses:200",
    ),
    "204 is an error": Mutant(
        "attempt",
        "    if status == 204:\n",
        "    if status == 205:\n",
        "test_connection.test_204_closes_without_an_error",
    ),
    "one redirect too few": Mutant(
        "attempt",
        "attempt.redirects > config.limits.redirects",
        "attempt.redirects >= config.limits.redirects",
        "test_connection.test_redirects_are_followed_up_to_the_limit",
    ),
    "a body goes to another origin": Mutant(
        "attempt",
        "if followed.content is not None and",
        "if followed.content is None and",
        "test_connection.test_a_body_is_not_sent_to_another_origin",
    ),
}


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a changed source, not under its own file name: it is not covered."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.code = compile(source, "<mutant>", "exec")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, vars(module))


def source_of(module: str) -> str:
    spec = importlib.util.find_spec(f"sansio_sse.{module}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text()


def affected(name: str) -> bool:
    tests = ("test_connection", "test_wire", "machine_")
    return name.partition(".")[0] == "sansio_sse" or name.startswith(tests)


@contextmanager
def planted(mutant: Mutant) -> Generator[None]:
    """The package with the bug in it, until the end of the block."""
    source = source_of(mutant.module)
    assert source.count(mutant.right) == 1, "what is to be changed stands there once"
    finder = Planted(f"sansio_sse.{mutant.module}", source.replace(mutant.right, mutant.wrong))
    real = {name: module for name, module in sys.modules.items() if affected(name)}
    for name in real:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if affected(name)]:
            del sys.modules[name]
        sys.modules.update(real)


def check(killer: str, bound: settings = BOUNDED) -> Callable[[], object]:
    """The test or model of that name, loaded on top of the package as it now is."""
    name, *words = killer.split(":")
    module = importlib.import_module(name.partition(".")[0])
    found: Any = getattr(module, name.partition(".")[2])
    if isinstance(found, type):
        return lambda: run_state_machine_as_test(found, settings=bound)
    arguments = [int(word) if word.isdigit() else getattr(module, word, word) for word in words]
    return lambda: found(*arguments)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_planted_bug_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    with planted(mutant):
        search = check(mutant.killer)
        with pytest.raises(Exception):  # noqa: B017, PT011  # a bug may show in any way
            search()


@pytest.mark.parametrize("killer", sorted({mutant.killer for mutant in MUTANTS.values()}))
def test_what_finds_them_finds_nothing_in_the_real_machines(killer: str) -> None:
    check(killer, settings(BOUNDED, max_examples=50))()


def test_there_are_enough_and_in_every_machine() -> None:
    assert len(MUTANTS) >= 20
    modules = {mutant.module for mutant in MUTANTS.values()}
    assert modules == {"connection", "wire", "reconnection", "heartbeat", "attempt"}
