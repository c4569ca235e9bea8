"""The contract suite's fixtures, and the ways into this backend."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from contract.fixtures import (
    Certificates,
    certificates,
    cheap_collections,
    nothing_is_left,
    pytest_pyfunc_call,
)

from .clients import WAYS
from .h2_server import H2Server

__all__ = [
    "certificates",
    "cheap_collections",
    "nothing_is_left",
    "pytest_pyfunc_call",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give everything here a limit of its own: a test that hangs has failed."""
    for item in items:
        if item.path.parent.name == "httpcore_client" and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(30))


def _use(way: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    if way.old:
        monkeypatch.setitem(sys.modules, "httpcore2", None)  # as if it were not installed
    return way


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def sse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The way under test."""
    return _use(request.param(), monkeypatch)


@pytest.fixture(
    params=[way for way in WAYS if way().asynchronous],
    ids=lambda way: way.name,
)
def async_sse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The way under test, if there are tasks in it."""
    return _use(request.param(), monkeypatch)


@pytest.fixture(
    params=[way for way in WAYS if not way().asynchronous],
    ids=lambda way: way.name,
)
def sync_sse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The way under test, if it is one of plain calls."""
    return _use(request.param(), monkeypatch)


@pytest.fixture
def h2_server(certificates: Certificates) -> Iterator[H2Server]:
    """A server of HTTP/2, whose streams are left open."""
    with H2Server(certificates) as server:
        yield server
