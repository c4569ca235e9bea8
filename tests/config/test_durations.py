"""Durations are read as Go reads them, and what only durationpy would read is refused."""

import runpy
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse_config import durations
from sansio_sse_config.durations import seconds_of

UNITS = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
    "µs": timedelta(microseconds=1),
    "μs": timedelta(microseconds=1),
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("5.s", 5),
        ("1s1s", 2),
        ("1m1h", 3660),
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("+5s", 5),
        ("-1m30s", -90),
        ("1500us", 0.0015),
        ("1500µs", 0.0015),
        ("1500μs", 0.0015),
        ("2000ns", 0.000002),
        ("1.0000001s", 1.0),
    ],
)
def test_what_go_reads_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "-",
        " ",
        "s",
        ".s",
        "..s",
        "5.5.5s",
        "--5s",
        "+-5s",
        "5s-",
        "1h-30m",
        "1S",
        "1 s",
        " 1s",
        "1s ",
        "1s\n",
        "1h 30m",
        "1s,1s",
        "1s x 1s",
        "1sx1s",
        "1d",
        "1w",
        "1mo",
        "1mm",
        "1y",
        "1e3s",
        "0x10s",
        "1_000s",
        "inf",
        "infs",
        "nan",
        "nans",
        "\N{ARABIC-INDIC DIGIT ONE}s",
        "²s",
        "1\N{FULLWIDTH LATIN SMALL LETTER S}",
        "1\0s",
        "\ud800s",
        "five minutes",
    ],
)
def test_what_go_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["30", "-5", "1.5", ".5", "00", "0.0"])
def test_a_number_without_a_unit_is_told_so(text: str) -> None:
    with pytest.raises(ValueError, match="must have a unit"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["1ns", "0.4us", "-1ns", "0.000001ms"])
def test_what_would_round_to_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="shorter than a microsecond"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["9" * 30 + "s", "24000000000h", "23999999999h23999999999h"])
def test_what_no_timedelta_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="longer than a duration can be"):
        seconds_of(text)


def test_a_long_text_is_refused_without_being_read() -> None:
    with pytest.raises(ValueError, match="must be a duration such as"):
        seconds_of("1s" * 100_000)


def test_without_durationpy_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "durationpy", None)
    with pytest.raises(ImportError, match=r'pip install "sansio-sse\[config\]"'):
        runpy.run_path(durations.__file__)


@given(
    st.sampled_from(["", "+", "-"]),
    st.lists(
        st.tuples(st.integers(0, 99_999), st.sampled_from(sorted(UNITS))), min_size=1, max_size=6
    ),
)
def test_parts_add_up_as_timedeltas_do(sign: str, parts: list[tuple[int, str]]) -> None:
    total = sum((count * UNITS[unit] for count, unit in parts), timedelta())
    text = sign + "".join(f"{count}{unit}" for count, unit in parts)
    assert seconds_of(text) == (-total if sign == "-" else total).total_seconds()


@given(st.integers(0, 10**9), st.integers(0, 10**6 - 1))
def test_fractions_are_exact_to_the_microsecond(seconds: int, micros: int) -> None:
    expected = timedelta(seconds=seconds, microseconds=micros).total_seconds()
    assert seconds_of(f"{seconds}s{micros}us") == expected


@given(st.text("0123456789.+-nuµmsh ", max_size=12) | st.text(max_size=12))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    try:
        seconds = seconds_of(text)
    except ValueError:
        return
    assert timedelta(seconds=seconds).total_seconds() == seconds
