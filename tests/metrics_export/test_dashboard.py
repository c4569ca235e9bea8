"""The dashboard and the alerts ask for what is exported, and get an answer."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sansio_sse_metrics import INSTRUMENTS, Kind
from sansio_sse_metrics.prometheus import SSECollector
from tree import ROOT

from .exposed import expose
from .faulty_day import FaultyDay

GRAFANA = ROOT / "docs" / "grafana"
DASHBOARD = json.loads((GRAFANA / "sansio-sse.json").read_text(encoding="utf-8"))
ALERTS = re.findall(
    r"- alert: (\w+)\n\s+expr: (.+)\n", (GRAFANA / "alerts.yaml").read_text(encoding="utf-8")
)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [
    (f"{panel['title']} {target['refId']}", target["expr"], target["legendFormat"])
    for panel in PANELS
    for target in panel["targets"]
]
EXPRESSIONS = [(title, expression) for title, expression, _ in TARGETS] + ALERTS
WORDS = {"sum", "max", "by", "rate", "increase", "histogram_quantile", "and"}
_SELECTOR = re.compile(r"\b(sse_client_\w+)(?:\{([^{}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')


@pytest.fixture(scope="module")
def peaks() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The highest value that each sample had on a faulty day."""
    day, registry = FaultyDay(), CollectorRegistry()
    SSECollector(day.pool, day.streams, day.connection, registry=registry)
    highest: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def look() -> None:
        for key, value in expose(registry).samples.items():
            highest[key] = max(highest.get(key, 0.0), value)

    day.run(look)
    return highest


def matchers(text: str) -> Iterator[tuple[str, str, str]]:
    rest = _MATCHER.sub("", text).replace(",", "").strip()
    assert rest == "", f"not understood: {rest}"
    for name, operator, value in _MATCHER.findall(text):
        yield name, operator, ".*" if value.startswith("$") else value


def matches(labels: dict[str, str], wanted: list[tuple[str, str, str]]) -> bool:
    return all(
        bool(re.fullmatch(value, labels[name])) is (operator != "!=")
        for name, operator, value in wanted
    )


def labels_of(sample: str) -> set[str]:
    for row in INSTRUMENTS:
        if sample == row.prometheus:
            return set(row.labels)
        if row.kind is Kind.HISTOGRAM and sample == f"{row.prometheus}_bucket":
            return {*row.labels, "le"}
    pytest.fail(f"{sample} is not exported")


@pytest.mark.parametrize(
    ("title", "expression"), EXPRESSIONS, ids=[each[0] for each in EXPRESSIONS]
)
def test_an_expression_asks_for_what_is_exported_and_gets_an_answer(
    title: str, expression: str, peaks: dict[tuple[str, frozenset[tuple[str, str]]], float]
) -> None:
    selectors = _SELECTOR.findall(expression)
    assert selectors
    for name, text in selectors:
        wanted = list(matchers(text))
        assert {label for label, _, _ in wanted} <= labels_of(name)
        found = [
            value
            for (sample, labels), value in peaks.items()
            if sample == name and matches(dict(labels), wanted)
        ]
        assert found, f"no data for {name}{{{text}}}"
        assert max(found) > 0, f"always zero: {name}{{{text}}}"
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert set(grouped.split(", ")) <= labels_of(name)
    rest = re.sub(r'"[^"]*"|\[[^\]]*\]|by \([^)]*\)|\{[^{}]*\}', "", _SELECTOR.sub("", expression))
    assert set(re.findall(r"[a-z_]\w*", rest)) <= WORDS


@pytest.mark.parametrize(("title", "expression", "legend"), TARGETS, ids=[t[0] for t in TARGETS])
def test_a_legend_names_what_the_expression_keeps_apart(
    title: str, expression: str, legend: str
) -> None:
    kept = {
        label
        for grouped in re.findall(r"by \(([^)]*)\)", expression)
        for label in grouped.split(", ")
    } - {"le"}
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) == kept


def test_every_panel_can_be_chosen_a_source_for_and_has_a_place_of_its_own() -> None:
    assert DASHBOARD["uid"] == "sansio-sse"
    assert DASHBOARD["schemaVersion"] >= 36
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for name in ("origin", "pool"):
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables[name]["definition"])
        assert asked is not None
        assert asked[2] == name
        assert name in labels_of(asked[1])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source["uid"] == "${datasource}" for source in sources)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    titles = [panel["title"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


def test_the_dashboard_shows_nearly_everything_and_there_are_alerts() -> None:
    text = json.dumps(DASHBOARD)
    unseen = {row.prometheus for row in INSTRUMENTS if row.prometheus not in text}
    assert unseen == {
        "sse_client_pool_kept_transports",  # of use beside handshakes and reuses, and rarely
        "sse_client_pool_moves_total",
    }
    assert len(ALERTS) == (GRAFANA / "alerts.yaml").read_text(encoding="utf-8").count("- alert:")


@pytest.mark.parametrize(
    "expression",
    [
        "sum(sse_client_nonsense)",
        'sum(sse_client_connections{status="connected"})',
        "sum by (reason) (sse_client_connections)",
        'sum(sse_client_connections{state="lost"})',
        "average(sse_client_connections)",
    ],
)
def test_an_expression_that_gets_no_answer_is_found(
    expression: str, peaks: dict[tuple[str, frozenset[tuple[str, str]]], float]
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_an_expression_asks_for_what_is_exported_and_gets_an_answer("", expression, peaks)
