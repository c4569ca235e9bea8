"""What a driver of one connection and one of many have in common, by itself."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sansio_sse.errors import ConnectionClosed, LocalProtocolError, SSEError
from sansio_sse.machine_driver import MachineDriver, Watcher


class Echo:
    """A machine which answers with what it is told."""

    def __init__(self) -> None:
        self.deadline: float | None = None

    def told(self, what: object, now: float) -> Sequence[Any]:
        return [what]

    def refuse(self, now: float) -> Sequence[Any]:
        raise LocalProtocolError("out of order")

    def tick(self, now: float) -> Sequence[Any]:
        self.deadline = None
        return [f"tick {now:g}"]


class Driver(MachineDriver):
    def __init__(self) -> None:
        self._machine = self._wire = Echo()
        self._prepare_feeding()
        self.done: list[Any] = []
        self.armed: list[float | None] = []
        self.reported: list[BaseException] = []
        self.now = 0.0
        self.on: Callable[[Any], None] = lambda action: None

    def _perform(self, actions: Sequence[Any]) -> None:
        for action in actions:
            self.done.append(action)
            self.on(action)

    def _report(self, error: BaseException) -> None:
        self.reported.append(error)

    def _now(self) -> float:
        return self.now

    def _arm(self, at: float | None) -> None:
        self.armed.append(at)

    def _wake(self) -> None:
        self.done.append("wake")

    def _is_over(self) -> bool:
        return self.now > 100


def test_an_input_born_of_an_action_waits_for_its_turn() -> None:
    driver = Driver()

    def on(action: Any) -> None:
        if action == "one":
            driver._take(Echo.told, "two")
            driver._take(Echo.refuse)  # nobody is there to whom it could be raised
            assert driver.done == ["one"]

    driver.on = on
    driver._take(Echo.told, "one")
    assert driver.done == ["one", "two"]
    assert [str(error) for error in driver.reported] == ["out of order"]
    with pytest.raises(LocalProtocolError):
        driver._take(Echo.refuse)


def test_the_deadline_is_armed_when_it_comes_nearer_and_disarmed_when_it_goes() -> None:
    driver = Driver()
    driver._machine.deadline = 10.0
    driver._take(Echo.told, 1)
    driver._machine.deadline = 12.0
    driver._take(Echo.told, 2)
    assert driver.armed == [10.0]
    driver.now = 9.0
    driver._deadline_reached()  # too early: armed again
    assert driver.armed == [10.0, 10.0]
    driver.now = 10.0
    driver._deadline_reached()
    assert driver.done[-1] == "tick 10"
    driver._deadline_reached()  # nothing is armed
    driver._machine.deadline = 20.0
    driver._take(Echo.told, 3)
    driver._machine.deadline = None
    driver._take(Echo.told, 4)
    assert driver.armed == [10.0, 10.0, 20.0, None]


def test_a_watcher_gets_what_is_of_its_kind_until_the_end() -> None:
    driver = Driver()
    watcher = driver._watch(Watcher(str))
    driver._watched(5)
    driver._watched("five")
    waiting = driver._watching(watcher)
    with pytest.raises(StopIteration) as found:
        next(waiting)
    assert found.value.value == "five"
    waiting = driver._watching(watcher)
    assert next(waiting) is None
    driver.now = 101
    with pytest.raises(ConnectionClosed):
        next(waiting)
    driver._unwatch(watcher)  # gone already
    driver._watched("six")
    assert not watcher.items


def test_what_a_subclass_has_to_write() -> None:
    bare = MachineDriver()
    for call in (
        lambda: bare._perform([]),
        lambda: bare._report(SSEError("x")),
        bare._is_over,
        bare._now,
        lambda: bare._arm(None),
        bare._wake,
    ):
        with pytest.raises(NotImplementedError):
            call()
