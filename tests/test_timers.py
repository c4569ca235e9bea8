"""Which timer comes first."""

from sansio_sse import Timer
from sansio_sse.timers import earlier


def test_the_earlier_time_comes_first_whatever_it_is_for() -> None:
    assert earlier(None, 5.0, Timer.POST) == (5.0, Timer.POST)
    assert earlier((6.0, Timer.PREPARE), 5.0, Timer.POST) == (5.0, Timer.POST)
    assert earlier((4.0, Timer.POST), 5.0, Timer.PREPARE) == (4.0, Timer.POST)


def test_at_equal_times_deaths_come_before_chores() -> None:
    assert earlier((5.0, Timer.STABILITY), 5.0, Timer.IDLE) == (5.0, Timer.IDLE)
    assert earlier((5.0, Timer.IDLE), 5.0, Timer.STABILITY) == (5.0, Timer.IDLE)
    deaths = [Timer.PREPARE, Timer.CONNECT, Timer.WRITE, Timer.RESPONSE, Timer.IDLE]
    chores = [Timer.PING, Timer.STABILITY, Timer.RECONNECT, Timer.POST, Timer.DRAIN, Timer.FAILBACK]
    assert max(deaths) < min(chores)
    assert set(Timer) == {*deaths, *chores, Timer.PING_ANSWER}
