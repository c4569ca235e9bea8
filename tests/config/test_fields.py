"""Every field of the core's configuration can be configured, one that is new among them."""

import dataclasses
import itertools
import typing
from collections.abc import Sequence
from typing import Any

import pytest

import sansio_sse.config
from sansio_sse import ConnectionConfig, Endpoint, HeartbeatConfig, PoolConfig
from sansio_sse_config.environment import _paths
from sansio_sse_config.fields import Duration, Number, Part, Parts, fields_of
from sansio_sse_config.sources import KINDS, ConfigT

BY_NAME = {kind.__name__: kind for kind in KINDS}

# Every float of the core, and whether it is seconds. One that is missing here is new: if it is no
# duration, its name belongs to the factors in sansio_sse_config.fields.
FLOATS = {
    "BreakerConfig.failback_after": True,
    "BreakerConfig.open_for": True,
    "Endpoint.weight": False,
    "HeartbeatConfig.interval": True,
    "HeartbeatConfig.timeout": True,
    "Limits.decompressed_ratio": False,
    "PoolConfig.acquire_timeout": True,
    "PoolConfig.max_backlog_age": True,
    "PoolConfig.max_idle": True,
    "PoolConfig.max_lifetime": True,
    "ReconnectionPolicy.backoff_multiplier": False,
    "ReconnectionPolicy.initial_delay": True,
    "ReconnectionPolicy.jitter_factor": False,
    "ReconnectionPolicy.max_delay": True,
    "ReconnectionPolicy.max_server_delay": True,
    "ReconnectionPolicy.reset_interval": True,
    "Timeouts.connect": True,
    "Timeouts.idle": True,
    "Timeouts.response": True,
    "Timeouts.write": True,
}


def test_every_dataclass_of_the_core_can_be_configured() -> None:
    theirs = {
        name: value
        for name, value in vars(sansio_sse.config).items()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__module__ == "sansio_sse.config"
    }
    assert theirs == BY_NAME
    # A type checker is told the same as what is looked up at run time.
    assert set(typing.get_args(ConfigT.__bound__)) == set(KINDS)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_field_of_the_core_can_be_configured(name: str) -> None:
    kind = BY_NAME[name]
    fields = fields_of(kind)  # raises for what it does not know
    assert list(fields) == [field.name for field in dataclasses.fields(kind)]
    inner = [field.shape.kind for field in fields.values() if isinstance(field.shape, Part | Parts)]
    assert set(inner) <= set(KINDS)


def test_floats_are_seconds_but_for_those_that_are_not() -> None:
    found = {
        f"{name}.{field}": isinstance(inner.shape, Duration)
        for name, kind in BY_NAME.items()
        for field, inner in fields_of(kind).items()
        if isinstance(inner.shape, Duration | Number)
    }
    assert found == FLOATS


def test_what_may_hold_a_credential_is_secret() -> None:
    secret = {
        f"{name}.{field}"
        for name, kind in BY_NAME.items()
        for field, found in fields_of(kind).items()
        if found.secret
    }
    assert secret == {
        "ConnectionConfig.base_url",
        "ConnectionConfig.headers",
        "Endpoint.url",
        "HeartbeatConfig.ping_endpoint",
    }


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_no_two_fields_share_a_variable(name: str) -> None:
    def leaves(kind: type[Any]) -> int:
        shapes = [field.shape for field in fields_of(kind).values()]
        return sum(leaves(shape.kind) if isinstance(shape, Part) else 1 for shape in shapes)

    assert len(_paths(BY_NAME[name])) == leaves(BY_NAME[name])


def test_a_new_field_of_a_known_type_needs_nothing_here() -> None:
    grown = dataclasses.make_dataclass(
        "Grown",
        [
            ("patience", float, dataclasses.field(default=1.0)),
            ("heartbeat", HeartbeatConfig, dataclasses.field(default_factory=HeartbeatConfig)),
        ],
    )
    fields = fields_of(grown)
    assert fields["patience"].shape == Duration()
    assert fields["heartbeat"].shape == Part(HeartbeatConfig)


@pytest.mark.parametrize(
    "hint", [bytes, int | str, Sequence[int], Sequence[Endpoint | HeartbeatConfig], complex]
)
def test_a_new_field_of_another_type_is_found(hint: Any) -> None:
    grown = dataclasses.make_dataclass("Grown", [("strange", hint)])
    with pytest.raises(TypeError, match="strange"):
        fields_of(grown)


def test_variables_are_named_by_where_a_field_stands() -> None:
    assert _paths(ConnectionConfig)["RECONNECTION_MAX_ATTEMPTS"] == ("reconnection", "max_attempts")
    assert _paths(PoolConfig)["CONNECTION_TIMEOUTS_IDLE"] == ("connection", "timeouts", "idle")
    assert all(
        name == "_".join(map(str, path)).upper()
        for name, path in itertools.chain(*(_paths(kind).items() for kind in KINDS))
    )
