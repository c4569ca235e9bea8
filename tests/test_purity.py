"""The walls: the core imports nothing impure, and no layer imports one above it.

Two views of purity. The syntax tree catches what is written, also inside a function and also
``time``, which every interpreter has loaded before the first line runs. A fresh interpreter catches
what the written imports pull in behind them. Every check is shown a violation it must find.
"""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tree import PACKAGES, folder_of, modules_of

CORE = folder_of("sansio_sse")
# An application may build on a driver, and on the libraries; a driver stands alone, and so does an
# HTTP-client backend, but for what these share.
DRIVERS = {"sansio_sse_asyncio", "sansio_sse_trio", "sansio_sse_sockets"}
HTTP_CLIENTS = {"sansio_sse_httpcore", "sansio_sse_httpx"}
SHARED = {"sansio_sse_exchanges"}
LIBRARIES = {"sansio_sse_config", "sansio_sse_metrics"}

PURE_MODULES = frozenset(
    "__future__ abc base64 bisect collections collections.abc contextlib dataclasses enum"
    " functools heapq http ipaddress itertools json math operator re types typing urllib.parse zlib"
    " h11".split()
)
# Of these modules only some names are pure enough, or wanted.
PURE_NAMES = {"http": {"HTTPStatus"}}
IMPURE_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}

# Lowest first. The modules of the bottom layer may use each other, without a cycle.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "states actions errors config timers metrics event_stream encoder http http1_body"
        " content_coding admission timeline typed",
        "reconnection heartbeat http1 endpoints attempt profiles",
        "connection members",
        "failover pool logs",
        "machine_driver",
        "carrier",
        "wire exchange",
        "driver",
        "faces",
        "group",
        "leases crank group_faces",
        "sharing",
        "pool_driver stream_set",
        "pool_faces",
        "testing __init__",
    )
)
MODULES = frozenset().union(*LAYERS)


class Import(NamedTuple):
    """One imported module, and the name taken from it if it is a ``from`` import."""

    line: int
    module: str
    name: str | None
    typing_only: bool


def imports_of(source: str, package: str) -> Iterator[Import]:
    """Every import in a module that lies in ``package``, relative ones resolved."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None, id(node) in typing_only)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = importlib.util.resolve_name("." * node.level + module, package)
            for alias in node.names:
                yield Import(node.lineno, module, alias.name, id(node) in typing_only)


def package_of(path: Path, package: str) -> str:
    """The dotted name of the package, ``package`` or one within it, that the file lies in."""
    return ".".join([package, *path.parent.relative_to(folder_of(package)).parts])


CORE_FILES = [
    pytest.param(path, id=path.relative_to(CORE).as_posix()) for path in sorted(CORE.rglob("*.py"))
]


# --- What is written ---------------------------------------------------------------------------


def impurities(source: str, package: str) -> list[str]:
    found = []
    for line, module, name, typing_only in imports_of(source, package):
        if module == "sansio_sse" or module.startswith("sansio_sse."):
            continue
        if typing_only and module == "typing_extensions":
            continue  # every type checker brings it, and nothing else ever loads it
        whole = f"{module}.{name}"
        if module in PURE_NAMES:
            if name not in PURE_NAMES[module]:
                found.append(f"line {line}: {whole if name else module}")
        elif module not in PURE_MODULES and (name is None or whole not in PURE_MODULES):
            found.append(f"line {line}: {whole if name else module}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            found.append(f"line {node.lineno}: {node.id}")
        elif isinstance(node, ast.Global):
            found.append(f"line {node.lineno}: global {', '.join(node.names)}")
    return found


@pytest.mark.parametrize("path", CORE_FILES)
def test_the_core_imports_only_what_is_pure(path: Path) -> None:
    assert impurities(path.read_text(encoding="utf-8"), package_of(path, "sansio_sse")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", "line 1: time"),
        ("import re, socket", "line 1: socket"),
        ("from time import monotonic", "line 1: time.monotonic"),
        ("def f():\n    import random", "line 2: random"),
        ("import urllib.request", "line 1: urllib.request"),
        ("from urllib import request", "line 1: urllib.request"),
        ("import http", "line 1: http"),
        ("from http import client", "line 1: http.client"),
        ("import h11._readers", "line 1: h11._readers"),
        ("from concurrent import futures", "line 1: concurrent.futures"),
        ("import sansio_sse_asyncio", "line 1: sansio_sse_asyncio"),
        ("open('x')", "line 1: open"),
        ("f = print", "line 1: print"),
        ("__import__('time')", "line 1: __import__"),
        ("def f():\n    global x", "line 2: global x"),
    ],
)
def test_an_impurity_is_found(source: str, found: str) -> None:
    assert impurities(source, "sansio_sse") == [found]


@pytest.mark.parametrize(
    "source",
    [
        "from collections.abc import Mapping",
        "from http import HTTPStatus",
        "from urllib import parse",
        "from .http import Request",
        "from . import states",
        "import h11, sansio_sse.states",
    ],
)
def test_what_is_pure_is_not_complained_about(source: str) -> None:
    assert impurities(source, "sansio_sse") == []


# --- What is loaded ----------------------------------------------------------------------------

# Runs without site-packages, without the environment and without the current folder, so that
# nothing is loaded but by the imports asked for.
LOADED_BY = """
import sys
folders, before, after = (argument.split(":") for argument in sys.argv[1:])
sys.path[:0] = folders
for name in before:
    __import__(name)
known = set(sys.modules)
for name in after:
    __import__(name)
print(*sorted(set(sys.modules) - known))
"""
# Some of these are what an allowed module could one day begin to load by itself.
IMPURE_MODULES = frozenset(
    "asyncio concurrent.futures datetime email http.client logging multiprocessing random secrets"
    " select selectors socket ssl subprocess tempfile threading".split()
)


def loaded_by(after: Iterable[str], before: Iterable[str], folders: Sequence[Path]) -> set[str]:
    """The modules that importing ``after`` loads, where ``before`` are loaded already."""
    arguments = (":".join(map(str, folders)), ":".join(before), ":".join(after))
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOADED_BY, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


CORE_MODULES = modules_of("sansio_sse")
FOLDERS = [CORE.parent, folder_of("h11").parent]
ALLOWED = sorted(PURE_MODULES)


def test_importing_the_core_loads_only_itself() -> None:
    foreign = loaded_by(CORE_MODULES, ALLOWED, FOLDERS) - set(CORE_MODULES)
    assert foreign == set()


def test_nothing_allowed_loads_what_is_impure() -> None:
    assert loaded_by(["sys", *ALLOWED], ["sys"], FOLDERS) & IMPURE_MODULES == set()


def test_a_module_that_loads_something_foreign_is_found(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(
        "def f():\n    pass\nimport http.client\n", encoding="utf-8"
    )
    found = loaded_by(["planted"], ALLOWED, [tmp_path, *FOLDERS])
    assert {"planted", "http.client", "socket"} <= found
    assert found & IMPURE_MODULES


# --- Which way imports go ----------------------------------------------------------------------


def module_of(path: Path) -> str:
    """The name a file of the core has in LAYERS: everything in ``testing/`` is one layer."""
    parts = path.relative_to(CORE).with_suffix("").parts
    return parts[0]


def core_imports(source: str, package: str) -> Iterator[tuple[Import, str]]:
    """The imports from within the core, each with the name it has in LAYERS."""
    for entry in imports_of(source, package):
        if entry.module == "sansio_sse":
            name = entry.name or ""
            yield entry, name if name in MODULES else "__init__"
        elif entry.module.startswith("sansio_sse."):
            yield entry, entry.module.split(".")[1]


def layer_of(module: str) -> int:
    for number, layer in enumerate(LAYERS):
        if module in layer:
            return number
    pytest.fail(f"{module} has no place in LAYERS: decide who may import it")


def wrong_way(source: str, module: str, package: str = "sansio_sse") -> list[str]:
    """The imports by which ``module`` uses something that is not below it."""
    own = layer_of(module)
    return [
        f"line {entry.line}: {module} imports {target}"
        for entry, target in core_imports(source, package)
        if layer_of(target) > own
        or (layer_of(target) == own and module != target and 0 < own < len(LAYERS) - 1)
    ]


@pytest.mark.parametrize("path", CORE_FILES)
def test_imports_go_down(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert wrong_way(source, module_of(path), package_of(path, "sansio_sse")) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("states", "from .wire import WireMachine", "line 1: states imports wire"),
        ("connection", "from . import wire", "line 1: connection imports wire"),
        ("connection", "from .pool import PoolMachine", "line 1: connection imports pool"),
        ("heartbeat", "import sansio_sse.attempt", "line 1: heartbeat imports attempt"),
        ("http1", "def f():\n    from .driver import X", "line 2: http1 imports driver"),
        ("driver", "from sansio_sse import connect", "line 1: driver imports __init__"),
        ("wire", "from .testing.clock import Clock", "line 1: wire imports testing"),
    ],
)
def test_an_import_that_goes_up_or_sideways_is_found(module: str, source: str, found: str) -> None:
    assert wrong_way(source, module) == [found]


def test_an_import_that_goes_down_is_not_complained_about() -> None:
    assert wrong_way("from .states import TRANSITIONS\nfrom .http1 import X", "wire") == []


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The names that remain when whatever imports none of the rest is removed, again and again."""
    rest = dict(graph)
    while free := [name for name, targets in rest.items() if not targets & rest.keys() - {name}]:
        for name in free:
            del rest[name]
    return sorted(rest)


def test_the_bottom_layer_has_no_cycle() -> None:
    graph = {}
    for module in LAYERS[0]:
        path = CORE / f"{module}.py"
        if path.exists():
            source = path.read_text(encoding="utf-8")
            # An annotation may name what is not there when the program runs.
            graph[module] = {
                target
                for entry, target in core_imports(source, "sansio_sse")
                if not entry.typing_only
            }
    assert cycle(graph) == []


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": {"a"}}) == [
        "a",
        "b",
        "c",
        "e",
    ]


def backend_trespasses(source: str, package: str) -> list[str]:
    """What a backend imports of the core that is private, or of other backends at all."""
    own = package.split(".")[0]
    allowed = {"sansio_sse"}
    if own in HTTP_CLIENTS:
        allowed |= SHARED
    elif own not in DRIVERS | SHARED | LIBRARIES:
        allowed |= DRIVERS | LIBRARIES
    found = []
    for line, module, name, _ in imports_of(source, package):
        top = module.split(".")[0]
        if not top.startswith("sansio_sse") or top == own:
            continue
        whole = f"{module}.{name}" if name else module
        if top not in allowed:
            found.append(f"line {line}: {whole} belongs to another backend")
        elif any(re.match("_(?!_)", part) for part in whole.split(".")):
            found.append(f"line {line}: {whole} is private")
        elif name is not None and not is_public(module, name):
            found.append(f"line {line}: {whole} is not in __all__")
    return found


def is_public(module: str, name: str) -> bool:
    # A version is public and is not for a star import.
    if name in (*getattr(importlib.import_module(module), "__all__", ()), "__version__"):
        return True
    try:
        return importlib.util.find_spec(f"{module}.{name}") is not None
    except ModuleNotFoundError:  # it is a plain module and has no submodules
        return False


@pytest.mark.parametrize("package", PACKAGES)
def test_backends_use_public_names_only(package: str) -> None:
    folder = folder_of(package)
    assert [
        f"{path.relative_to(folder.parent)}: {trespass}"
        for path in sorted(folder.rglob("*.py"))
        for trespass in backend_trespasses(
            path.read_text(encoding="utf-8"), package_of(path, package)
        )
    ] == []


@pytest.mark.parametrize(
    ("package", "source", "found"),
    [
        (
            "sansio_sse_asyncio",
            "from sansio_sse.states import _S",
            "line 1: sansio_sse.states._S is private",
        ),
        (
            "sansio_sse_asyncio",
            "from sansio_sse.states import MappingProxyType",
            "line 1: sansio_sse.states.MappingProxyType is not in __all__",
        ),
        (
            "sansio_sse_asyncio",
            "from sansio_sse.states import *",
            "line 1: sansio_sse.states.* is not in __all__",
        ),
        (
            "sansio_sse_asyncio",
            "import sansio_sse_trio",
            "line 1: sansio_sse_trio belongs to another backend",
        ),
        (
            "sansio_sse_httpx",
            "from sansio_sse_asyncio import connect",
            "line 1: sansio_sse_asyncio.connect belongs to another backend",
        ),
        (
            "sansio_sse_exchanges",
            "from sansio_sse_asyncio import connect",
            "line 1: sansio_sse_asyncio.connect belongs to another backend",
        ),
        (
            "sansio_sse_cli",
            "from sansio_sse_httpx import connect",
            "line 1: sansio_sse_httpx.connect belongs to another backend",
        ),
    ],
)
def test_a_trespass_is_found(package: str, source: str, found: str) -> None:
    assert backend_trespasses(source, package) == [found]


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("sansio_sse_asyncio", "from sansio_sse.states import ConnectionState"),
        ("sansio_sse_asyncio", "from sansio_sse import states"),
        ("sansio_sse_asyncio", "from ._transport import Anything"),
        ("sansio_sse_asyncio", "import sansio_sse.states"),
        ("sansio_sse_httpx", "from sansio_sse_exchanges import Client"),
        ("sansio_sse_cli", "from sansio_sse import __version__"),
        ("sansio_sse_cli", "from sansio_sse_asyncio import connect"),
    ],
)
def test_what_a_backend_may_use_is_not_complained_about(package: str, source: str) -> None:
    assert backend_trespasses(source, package) == []
