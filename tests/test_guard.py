"""The guard of the benchmarks finds what is worse, and is not content where it has seen nothing."""

import asyncio
from configparser import ConfigParser
from math import nan
from pathlib import Path
from typing import Any

import pytest

from tree import ROOT, module_at

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def guard() -> Any:
    return module_at(BENCHMARKS / "guard.py")


@pytest.fixture
def planted(guard: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A guard of two figures, which are what ``now`` says, one value after the other."""
    guard.now = {"speed": [2.0], "size": [1000.0]}
    figures = {
        "speed": (1.5, lambda: guard.now["speed"].pop(0)),
        "size": (1.15, lambda: guard.now["size"].pop(0)),
    }
    monkeypatch.setattr(guard, "FIGURES", figures)
    monkeypatch.setattr(guard, "BASELINE", tmp_path / "baseline.json")
    write(guard, speed=(2.0, 1.5), size=(1000.0, 1.15))
    return guard


def write(guard: Any, **figures: tuple[float, float]) -> None:
    planted = {name: guard.Figure(*figure) for name, figure in figures.items()}
    guard.write_baseline(guard.BASELINE, planted)


def run(guard: Any, *names: str) -> int:
    failed: int = guard.guard(list(names or guard.FIGURES), everything=not names)
    return failed


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (2.0, "ok"),
        (2.99, "ok"),
        (3.0, "ok"),
        (3.01, "WORSE"),
        (nan, "WORSE"),
        (1.7, "ok"),
        (1.5, "better"),
    ],
)
def test_a_figure_is_judged_by_its_baseline_and_its_margin(
    guard: Any, now: float, verdict: str
) -> None:
    [row] = guard.compare({"speed": guard.Figure(2.0, 1.5)}, {"speed": now})
    assert (row.verdict, row.bad) == (verdict, verdict == "WORSE")


def test_what_has_no_baseline_is_bad(guard: Any) -> None:
    [row] = guard.compare({}, {"speed": 1.0})
    assert (row.name, row.verdict, row.bad) == ("speed", "NO BASELINE", True)


def test_what_is_not_measured_any_more_is_bad(guard: Any) -> None:
    rows = guard.compare(
        {"speed": guard.Figure(1.0, 1.5), "size": guard.Figure(9.0, 1.1)}, {"size": 9.0}
    )
    assert [(row.name, row.verdict) for row in rows] == [("size", "ok"), ("speed", "NOT MEASURED")]


def test_nothing_is_worse(planted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(planted) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "| speed | 2.000 | 2.000 | 3.000 | ok |",
        "| size | 1000 | 1000 | 1150 | ok |",
    ]


def test_what_is_worse_twice_fails(planted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    planted.now["speed"] = [3.5, 3.2]
    assert run(planted) == 1
    out, err = capsys.readouterr()
    assert "| speed | 2.000 | 3.200 | 3.000 | WORSE |" in out
    assert "--update" in err
    assert planted.now == {"speed": [], "size": []}


def test_what_is_worse_once_does_not_fail(planted: Any) -> None:
    planted.now["speed"] = [3.5, 2.9]
    assert run(planted) == 0


def test_a_figure_without_a_baseline_fails(planted: Any) -> None:
    write(planted, speed=(2.0, 1.5))
    assert run(planted) == 1


def test_a_baseline_without_a_figure_fails(planted: Any) -> None:
    write(planted, speed=(2.0, 1.5), size=(1000.0, 1.15), gone=(1.0, 1.5))
    assert run(planted) == 1


def test_some_figures_are_judged_alone(planted: Any) -> None:
    write(planted, speed=(2.0, 1.5), gone=(1.0, 1.5))
    assert run(planted, "speed") == 0
    assert planted.now["size"] == [1000.0]


def test_another_python_is_pointed_out(
    planted: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planted, "PYTHON", "4.0")
    assert run(planted) == 0
    assert "and this is 4.0" in capsys.readouterr().err


def test_an_update_writes_medians_and_keeps_margins(planted: Any) -> None:
    write(planted, speed=(9.0, 3.0), gone=(1.0, 1.5))
    planted.now = {"speed": [2.0, 4.0, 2.5], "size": [1000.0, 1001.0, 1001.0]}
    assert planted.update(list(planted.FIGURES)) == 0
    python, figures = planted.read_baseline(planted.BASELINE)
    assert python == planted.PYTHON
    assert figures == {"speed": (2.5, 3.0), "size": (1001.0, 1.15)}


def test_an_update_of_some_keeps_the_others(planted: Any) -> None:
    planted.now["speed"] = [5.0, 5.0, 5.0]
    assert planted.update(["speed"]) == 0
    figures = planted.read_baseline(planted.BASELINE)[1]
    assert figures == {"speed": (5.0, 1.5), "size": (1000.0, 1.15)}


def test_an_update_needs_no_baseline(planted: Any) -> None:
    planted.BASELINE.unlink()
    planted.now = {"speed": [2.0] * 3, "size": [1000.0] * 3}
    assert planted.update(list(planted.FIGURES)) == 0
    assert planted.read_baseline(planted.BASELINE)[1].keys() == {"speed", "size"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "baseline.json is not JSON"),
        ("\xff", "baseline.json is not JSON"),
        ("[]", "baseline.json is not what --update writes"),
        ('{"python": "3.11"}', "baseline.json is not what --update writes"),
        ('{"python": "3.11", "figures": {"speed": 2}}', "is not what --update writes"),
        ('{"python": "3.11", "figures": {"speed": {"baseline": 2}}}', "KeyError.'margin'"),
        (
            '{"python": "3.11", "figures": {"speed": {"baseline": "fast", "margin": 2}}}',
            "could not convert",
        ),
        (
            '{"python": "3.11", "figures": {"speed": {"baseline": 0, "margin": 2}}}',
            "'speed' needs a baseline above 0",
        ),
        (
            '{"python": "3.11", "figures": {"speed": {"baseline": NaN, "margin": 2}}}',
            "'speed' needs a baseline above 0",
        ),
        (
            '{"python": "3.11", "figures": {"speed": {"baseline": 1, "margin": 0.9}}}',
            "a margin of at least 1",
        ),
    ],
)
def test_a_baseline_of_no_use_is_a_clear_error(
    planted: Any, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.BASELINE.write_text(content, encoding="latin-1")
    with pytest.raises(planted.BaselineError, match=message):
        planted.read_baseline(planted.BASELINE)
    assert run(planted) == 1
    assert "baseline.json" in capsys.readouterr().err


def test_no_baseline_is_a_clear_error(planted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    planted.BASELINE.unlink()
    assert run(planted) == 1
    assert capsys.readouterr().err == (
        "baseline.json: No such file or directory; --update makes it\n"
    )


def test_the_committed_baseline_has_every_figure(guard: Any) -> None:
    python, figures = guard.read_baseline(guard.BASELINE)
    assert list(figures) == list(guard.FIGURES)
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    assert tox["testenv:guard"]["base_python"] == f"py{python.replace('.', '')}"


def test_the_literal_decoder_sees_what_the_parser_sees(guard: Any) -> None:
    for make in guard.WORKLOADS.values():
        blocks = make()[:40]
        for size in (None, 1, 7, 65536):
            chunks = guard.cut(blocks, size)
            events = guard.events_of(guard.EventStreamParser(), chunks)
            assert events == guard.events_of(guard.LiteralDecoder(), chunks)
            assert len(events) == len(blocks)


def test_a_ratio_is_the_median_of_rounds_in_which_the_two_take_turns(guard: Any) -> None:
    order = []

    def planted(name: str, times: list[float]) -> Any:
        async def measure() -> float:
            order.append(name)
            return times.pop(0)

        return measure

    ours = planted("ours", [100.0, 2.0, 3.0, 90.0])
    other = planted("other", [1.0, 1.0, 1.0, 2.0])
    assert asyncio.run(guard.ratio(ours, other, 3)) == 3.0  # of 2, 3, 45: the first one warms up
    assert order == ["other", "ours", "ours", "other"] * 2
