"""Fixtures and checks of all suites that drive real connections."""

import gc
import importlib
import inspect
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from .face import Face
from .server import open_sockets

__all__ = [
    "Certificates",
    "async_sse",
    "certificates",
    "cheap_collections",
    "nothing_is_left",
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "pytest_pyfunc_call",
    "sse",
    "sync_sse",
    "tls",
]

_HERE = Path(__file__).parent
_FOLDERS = (
    "contract",
    "hostile",
    "asyncio",
    "sockets_driver",
    "trio_driver",
    "agui",
    "httpcore_client",
    "httpx_client",
)


def _drivers() -> list[Callable[[], Face]]:
    names = sorted(path.stem for path in _HERE.glob("driver_*.py"))
    modules = [importlib.import_module(f"{__package__}.{name}") for name in names]
    return [driver for module in modules for driver in module.DRIVERS]


_DRIVERS = _drivers()
_ASYNC_DRIVERS = [driver for driver in _DRIVERS if driver().asynchronous]
_SYNC_DRIVERS = [driver for driver in _DRIVERS if not driver().asynchronous]


_FIXTURES = {"sse": _DRIVERS, "async_sse": _ASYNC_DRIVERS, "sync_sse": _SYNC_DRIVERS}


def _name(driver: Callable[[], Face]) -> str:
    return driver().name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a scenario on every driver, and those outside of the contract suite on asyncio's."""
    for fixture, candidates in _FIXTURES.items():
        if fixture not in metafunc.fixturenames:
            continue
        only = {
            "asyncio": ("asyncio", "uvloop"),
            "hostile": ("asyncio",),
            "sockets_driver": ("sockets",),
            "trio_driver": ("trio",),
        }.get(metafunc.definition.path.parent.name)
        needs = {word for mark in metafunc.definition.iter_markers("needs") for word in mark.args}
        drivers = [
            driver
            for driver in candidates
            if (only is None or _name(driver) in only) and not needs & driver().lacks
        ]
        metafunc.parametrize(fixture, drivers, ids=_name, indirect=True)


@pytest.fixture
def sse(request: pytest.FixtureRequest) -> Face:
    """The driver under test."""
    face: Face = request.param()
    return face


@pytest.fixture
def async_sse(request: pytest.FixtureRequest) -> Face:
    """The driver under test, if there is something to be cancelled or awaited in it."""
    face: Face = request.param()
    return face


@pytest.fixture
def sync_sse(request: pytest.FixtureRequest) -> Face:
    """The driver under test, if it has no tasks, and works in the threads of its callers."""
    face: Face = request.param()
    return face


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a scenario by the driver under test."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    [face] = [argument for argument in arguments.values() if isinstance(argument, Face)]
    face.run(partial(pyfuncitem.obj, **arguments))
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give everything here a limit of its own: a test that hangs has failed."""
    items[:] = [item for item in items if not _is_lacked(item)]
    for item in items:
        folder = item.path.parent.name
        if folder in _FOLDERS and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(30))


def _is_lacked(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    for fixture in _FIXTURES:
        if fixture in parameters:
            face = parameters[fixture]()
            others = {value for value in parameters.values() if isinstance(value, str)}
            return bool(others & face.lacks or (face.only and item.path.stem not in face.only))
    return False


@pytest.fixture(scope="session")
def cheap_collections() -> Iterator[None]:
    """Keep what was there before the tests out of every collection to come."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def our_threads() -> set[threading.Thread]:
    """Return all threads but those which a loop keeps, idle, for the next name to resolve."""
    spare = tuple(driver().spare_threads for driver in _DRIVERS)
    return {thread for thread in threading.enumerate() if not thread.name.startswith(spare)}


@pytest.fixture(autouse=True)
def nothing_is_left(cheap_collections: None) -> Iterator[None]:
    """No socket and no thread outlives a test, and no object complains when it is collected."""
    gc.collect()
    sockets, threads = open_sockets(), our_threads()
    yield
    gc.collect()
    assert open_sockets() - sockets == set()
    give_up = time.monotonic() + 5
    while (left := our_threads() - threads) and time.monotonic() < give_up:
        time.sleep(0.002)
    assert not left


# --- Certificates ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """Contexts for servers, named by what is wrong with them, and what a client trusts."""

    good: ssl.SSLContext
    other_host: ssl.SSLContext
    expired: ssl.SSLContext
    self_signed: ssl.SSLContext
    ca_file: Path
    key_file: Path
    chain_file: Path

    def client(self) -> ssl.SSLContext:
        """Return a context which trusts the good authority."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ca = trustme.CA()
    names = ("localhost", "127.0.0.1", "::1")

    def server(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    past = [datetime(2001, month, 1, tzinfo=UTC) for month in (1, 2)]
    good = ca.issue_cert(*names)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    good.private_key_pem.write_to_path(str(folder / "key.pem"))
    for blob in good.cert_chain_pems:
        blob.write_to_path(str(folder / "chain.pem"), append=True)
    # An authority's own certificate is one that is signed by itself.
    lonely = trustme.CA()
    lonely.cert_pem.write_to_path(str(folder / "lonely.pem"))
    lonely.private_key_pem.write_to_path(str(folder / "lonely_key.pem"))
    self_signed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    self_signed.load_cert_chain(folder / "lonely.pem", folder / "lonely_key.pem")
    return Certificates(
        good=server(good),
        other_host=server(ca.issue_cert("other.example")),
        expired=server(ca.issue_cert(*names, not_before=past[0], not_after=past[1])),
        self_signed=self_signed,
        ca_file=folder / "ca.pem",
        key_file=folder / "key.pem",
        chain_file=folder / "chain.pem",
    )


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> dict[str, Any]:
    """With and without TLS: what the server and the client need for it."""
    if request.param == "plain":
        return {"server": None, "client": None}
    return {"server": certificates.good, "client": certificates.client()}
