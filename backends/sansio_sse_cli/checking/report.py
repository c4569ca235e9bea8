"""Findings, written down: for people, and as JSON for machines."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..terminal import Paint, escape
from .findings import Finding, Severity, by_severity

__all__ = ["Report"]

_VERSION = 1
_WIDTH = 100
_STYLES = {
    Severity.PROBLEM: "red",
    Severity.WARNING: "yellow",
    Severity.UNKNOWN: "magenta",
    Severity.INFO: "cyan",
    Severity.OK: "green",
}
_INDENT = " " * 9


@dataclass(frozen=True, slots=True)
class Report:
    """What was found at a server.

    >>> report = Report("http://h/", [Finding("retry", Severity.OK, "3000 ms")], 1, 10.0, True)
    >>> print(report.text(Paint(on=False)))
    http://h/
    ok       retry: 3000 ms
    1 ok; listened for 10.0 s, connections: 1
    """

    url: str
    """What was checked, redacted."""
    findings: Sequence[Finding]
    connections: int
    """How many were opened."""
    listened: float
    """Seconds."""
    complete: bool
    """Whether the check ran to its end."""

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def text(self, paint: Paint, *, verbose: bool = False) -> str:
        """Return the report for people, the worst first; ``verbose``: with the reason for each."""
        lines = [paint("bold", escape(self.url))]
        for finding in by_severity(self.findings):
            lines += _lines(finding, paint, verbose=verbose)
        return "\n".join([*lines, paint("bold", self._summary())])

    def json(self) -> str:
        """Return the report as one JSON object, in ASCII alone."""
        counts = Counter(finding.severity.value for finding in self.findings)
        report = {
            "version": _VERSION,
            "url": self.url,
            "complete": self.complete,
            "connections": self.connections,
            "listened": round(self.listened, 3),
            "counts": {severity.value: counts[severity.value] for severity in Severity},
            "findings": [
                {
                    "id": finding.id,
                    "severity": finding.severity.value,
                    "title": finding.title,
                    "seen": finding.seen,
                    "why": finding.why,
                    "do": finding.do,
                }
                for finding in self.findings
            ],
        }
        return json.dumps(report)

    def _summary(self) -> str:
        counted = [
            f"{count} {severity.value}{'s' if severity in _COUNTABLE and count != 1 else ''}"
            for severity in Severity
            if (count := self.count(severity))
        ]
        end = "" if self.complete else "; interrupted"
        return (
            f"{', '.join(counted) or 'nothing found'}; listened for {self.listened:.1f} s,"
            f" connections: {self.connections}{end}"
        )


_COUNTABLE = (Severity.PROBLEM, Severity.WARNING)


def _lines(finding: Finding, paint: Paint, *, verbose: bool) -> list[str]:
    mark = paint(_STYLES[finding.severity], f"{finding.severity.value:8}")
    first, *more = textwrap.wrap(
        escape(f"{finding.id}: {finding.seen}"), _WIDTH - len(_INDENT), break_on_hyphens=False
    )
    lines = [f"{mark} {first}", *(f"{_INDENT}{line}" for line in more)]
    if verbose or finding.severity in (Severity.PROBLEM, Severity.WARNING):
        lines += [paint("dim", line) for line in _paragraph(f"Why: {finding.why}")]
    if finding.do:
        lines += _paragraph(f"Do: {finding.do}")
    return lines


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=f"{_INDENT}  ")
