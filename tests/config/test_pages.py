"""The pages on configuration list every key there is, with its default."""

import dataclasses
import re
from typing import Any

import pytest

from sansio_sse import ConnectionConfig, Endpoint, PoolConfig
from sansio_sse_config.fields import (
    Boolean,
    Choice,
    Duration,
    Field,
    HeaderPairs,
    Integer,
    Integers,
    Number,
    Part,
    Parts,
    Shape,
    Text,
    fields_of,
)
from tree import ROOT

CONFIGURE = ROOT / "docs" / "howto" / "configure.md"
FROM_GO = ROOT / "docs" / "howto" / "from-go-sdk.md"


def takes(shape: Shape) -> str:
    match shape:
        case Boolean():
            return "true or false"
        case Integer():
            return "whole number"
        case Number():
            return "number"
        case Duration():
            return "duration"
        case Text():
            return "string"
        case Choice(words):
            return ", ".join(f"`{word}`" for word in words)
        case HeaderPairs():
            return "table, or pairs"
        case Integers():
            return "list of whole numbers"
        case Parts():
            return "list of urls and tables"
        case Part():
            raise AssertionError("a part has rows of its own")


def default(kind: type[Any], name: str, field: Field) -> str:
    if field.required:
        return "required"
    (found,) = [one for one in dataclasses.fields(kind) if one.name == name]
    value = found.default
    if value is None:
        return "none"
    if isinstance(value, bool | str):
        return f"`{value}`".lower()
    if isinstance(value, frozenset):
        return " ".join(map(str, sorted(value)))
    return f"{value:g}" if isinstance(value, float) else str(value)


def rows(kind: type[Any], prefix: str = "", without: tuple[type[Any], ...] = ()) -> list[str]:
    made: list[str] = []
    for name, field in fields_of(kind).items():
        if not isinstance(field.shape, Part):
            what = takes(field.shape)
            made.append(f"| `{prefix}{name}` | {what} | {default(kind, name, field)} |")
        elif field.shape.kind not in without:
            made += rows(field.shape.kind, f"{prefix}{name}.")
    return made


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Keys of a connection", rows(ConnectionConfig)),
        ("Keys of a pool", rows(PoolConfig, without=(ConnectionConfig,))),
        ("Keys of an endpoint", rows(Endpoint)),
    ],
    ids=["connection", "pool", "endpoint"],
)
def test_the_page_lists_every_key_with_its_default(heading: str, expected: list[str]) -> None:
    section = CONFIGURE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    section = section.partition("\n## ")[0]
    assert re.findall(r"^\| `.*", section, re.MULTILINE) == expected


@pytest.mark.parametrize(
    "name",
    (
        "BaseURL Headers BufferSize ReadTimeout WriteTimeout ReconnectDelay MaxReconnects"
        " Client.Timeout ReconnectionPolicy.Enabled MaxAttempts InitialDelay MaxDelay"
        " BackoffMultiplier JitterFactor ResetInterval HeartbeatConfig.Enabled Interval Timeout"
        " MaxMissed PingEndpoint"
    ).split(),
)
def test_the_page_for_go_has_every_name_of_its_configuration(name: str) -> None:
    page = FROM_GO.read_text(encoding="utf-8")
    assert re.search(rf"^\| `{re.escape(name)}` \|", page, re.MULTILINE)


def test_the_page_for_go_names_no_key_that_is_not_there() -> None:
    page = FROM_GO.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:reconnection|heartbeat|timeouts|limits|breaker)\.\w+)`", page))
    keys = {row.split("`")[1] for row in rows(ConnectionConfig)}
    assert len(named) > 12
    assert named - keys == set()
