"""What switches a check off has its reason beside it, and types are ignored ten times at most."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tree import ROOT

FOLDERS = ("sansio_sse", "backends", "tests", "docs", "fuzz", "benchmarks")
TYPES_AT_MOST = 10

TYPES = re.compile(r"(type:\s*ignore|pyright:\s*\w+)\s*(\[[\w, -]*\])?", re.IGNORECASE)
LINT = re.compile(r"(ruff:\s*)?noqa(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*)?|fmt:\s*(off|skip)")
COVERAGE = re.compile(r"pragma:\s*no\s+(cover|branch)")


def comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def ignores(source: str) -> Iterator[tuple[int, str, bool, bool]]:
    """Each comment that switches a check off: line, text, is it about types, has it a reason."""
    for line, text in comments(source):
        rest, types = TYPES.subn("", text)
        for pattern in (LINT, COVERAGE):
            rest = pattern.sub("", rest)
        if rest != text:
            # Two words are not much of a reason, but one is none.
            yield line, text, bool(types), len(re.findall(r"\w+", rest)) >= 2


def files() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_every_ignore_has_a_reason() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in files()
        for line, text, _, has_reason in ignores(path.read_text(encoding="utf-8"))
        if not has_reason
    ] == []


def test_types_are_rarely_ignored() -> None:
    about_types = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in files()
        for line, text, types, _ in ignores(path.read_text(encoding="utf-8"))
        if types
    ]
    assert len(about_types) <= TYPES_AT_MOST, about_types


@pytest.mark.parametrize(
    ("comment", "types", "has_reason"),
    [
        ("# type: ignore[arg-type]", True, False),
        ("# type: ignore[arg-type]  # the stub is wrong", True, True),
        ("# pyright: ignore[reportPrivateUsage, reportAny]", True, False),
        ("# pyright: ignore[reportPrivateUsage]  # wrong stub", True, True),
        ("# noqa: E501, B008", False, False),
        ("# noqa: E501  # a url", False, True),
        ("# ruff: noqa: E501", False, False),
        ("# fmt: skip", False, False),
        ("# pragma: no cover", False, False),
        ("# pragma: no cover - only on Windows", False, True),
        ("# type: ignore[x]  # noqa: E501", True, False),
    ],
)
def test_an_ignore_is_recognised(comment: str, types: bool, has_reason: bool) -> None:
    assert list(ignores(f"x = 1  {comment}\n")) == [(1, comment, types, has_reason)]


def test_a_comment_that_ignores_nothing_is_not_counted() -> None:
    assert list(ignores("x = 1  # nothing is ignored here\ny = '# noqa'\n")) == []
