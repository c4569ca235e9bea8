"""The tables of the monitoring page list what is exported, and nothing else."""

import re

from sansio_sse_metrics import INSTRUMENTS, Instrument, Kind, Scope
from tree import ROOT

PAGE = (ROOT / "docs" / "howto" / "monitoring.md").read_text(encoding="utf-8")
HEADINGS = {
    Scope.CONNECTION: "Connections",
    Scope.ENDPOINT: "Endpoints",
    Scope.POOL: "Pools",
    Scope.SET: "Stream sets",
}
KINDS = {
    Kind.COUNTER: "counter",
    Kind.HISTOGRAM: "histogram",
    Kind.SUM: "gauge, summed",
    Kind.HIGHEST: "gauge, highest",
}


def line(row: Instrument) -> str:
    names = ", ".join(f"`{name}`" for name in row.opentelemetry)
    values = ", ".join(f"`{value}`" for value in row.values)
    own = f"`{row.label}`: {values}" if row.label else ""
    return f"| `{row.prometheus}` | {names} | {KINDS[row.kind]} | {own} | {row.help} |"


def test_each_table_lists_the_instruments_of_its_scope() -> None:
    for scope, heading in HEADINGS.items():
        section = PAGE.split(f"### {heading}\n")[1].split("\n###")[0]
        listed = re.findall(r"^\| `.*\|$", section, re.MULTILINE)
        assert listed == [line(row) for row in INSTRUMENTS if row.scope is scope]
        labels = section.split("\n")[1]
        assert tuple(re.findall(r"`(origin|pool)`", labels)) == scope.labels


def test_the_page_names_every_alert() -> None:
    rules = (ROOT / "docs" / "grafana" / "alerts.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"- alert: (\w+)", rules)) == set(
        re.findall(r"`(SSE[A-Z]\w+)`", PAGE)
    ) - {"SSECollector"}


def test_the_page_speaks_of_panels_that_there_are() -> None:
    dashboard = (ROOT / "docs" / "grafana" / "sansio-sse.json").read_text(encoding="utf-8")
    table = PAGE.split("## What to look at")[1].split("## Alerts")[0]
    titles = re.findall(r'"title": "([^"]+)"', dashboard)
    legends = re.findall(r'"legendFormat": "([^"]+)"', dashboard)
    for panel in re.findall(r"\*([^*]+)\*", table):
        assert any(title.startswith(panel) for title in titles) or panel.lower() in legends, panel
