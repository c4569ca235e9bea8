"""The three drivers: thin, alike, and without an opinion."""

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from tree import ROOT

DRIVERS = ("sansio_sse_asyncio", "sansio_sse_trio", "sansio_sse_sockets")
FILES = [
    path
    for driver in DRIVERS
    for path in sorted((ROOT / "backends" / driver).glob("*.py"))
    if path.name != "testing.py"
]

# What a driver would have to look at in order to decide something that is the core's to decide.
OPINIONS = {"state", "status", "status_code", "deadline", "now", "_now", "time", "_armed", "until"}
STATES = {"ConnectionState", "TRANSITIONS", "Timer"}
# How large a buffer has to be is no opinion.
SIZES = {"len", "size", "sizehint"}


def opinions(source: str) -> list[str]:
    """Return the places where a driver's source compares states, statuses or times."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found += [f"imports {name.name}" for name in node.names if name.name in STATES]
        if not isinstance(node, ast.Compare):
            continue
        identity = all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
        none = all(isinstance(c, ast.Constant) and c.value is None for c in node.comparators)
        if identity and none:
            continue  # whether there is one at all is no opinion about it
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        ordering = any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops)
        if (ordering and not names & SIZES) or names & OPINIONS:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_driver_compares_no_state_no_status_and_no_time(path: Path) -> None:
    assert opinions(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "if self._now() >= deadline: pass",
        "x = response.status == 503",
        "if connection.state is CLOSED: pass",
        "from sansio_sse import ConnectionState",
        "while left > 0: pass",
    ],
)
def test_the_check_for_opinions_finds_planted_ones(source: str) -> None:
    assert opinions(source)


KINDS = ("Connection", "ConnectionPool", "StreamSet")


def face(module: ModuleType, kind: str) -> dict[str, inspect.Signature]:
    """Return the public members of a driver's class with their signatures, async or not."""
    made = getattr(module, kind)
    members: dict[str, inspect.Signature] = {"connect": inspect.signature(made)}
    for name, member in inspect.getmembers(made):
        if name.startswith("_"):
            continue
        if inspect.isfunction(member):
            members[name] = inspect.signature(member).replace(
                return_annotation=inspect.Signature.empty
            )
        elif isinstance(member, property):
            members[name] = inspect.Signature()
    return members


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("driver", DRIVERS[1:])
def test_all_drivers_have_the_same_public_names_and_signatures(driver: str, kind: str) -> None:
    first, other = importlib.import_module(DRIVERS[0]), importlib.import_module(driver)
    assert first.__all__ == other.__all__
    one, two = face(first, kind), face(other, kind)
    if driver == "sansio_sse_trio":
        # The one exception: tasks need a nursery.
        assert list(two.pop("open").parameters) == ["self", "nursery"]
        one.pop("open")
    if driver == "sansio_sse_sockets":
        one.pop("aclose")  # closing never blocks there
        if kind != "Connection":
            two.pop("run")  # for whoever lends a thread
    assert one == two


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("driver", DRIVERS[1:])
def test_all_drivers_describe_their_methods_alike(driver: str, kind: str) -> None:
    first, other = importlib.import_module(DRIVERS[0]), importlib.import_module(driver)
    for name in face(other, kind):
        one = getattr(getattr(first, kind), name, None)
        two = getattr(getattr(other, kind), name, None)
        if name == "run" or (name == "open" and driver == "sansio_sse_trio"):
            continue
        assert (inspect.getdoc(one) or "").split("\n")[0] == (
            (inspect.getdoc(two) or "").split("\n")[0]
        ), name


def code_lines(path: Path) -> int:
    """Count the lines of code: no blank ones, comments, docstrings or imports."""
    source = path.read_text()
    prose: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(source.splitlines(), 1)
        if number not in prose and line.strip() and not line.lstrip().startswith("#")
    )


@pytest.mark.parametrize(
    ("driver", "most", "most_for_many"),
    # asyncio pays for what its TLS, its resolver and its two loops do behind one's back, and for a
    # reader that goes on at once; plain sockets for having no loop that turns many connections.
    [
        ("sansio_sse_asyncio", 480, 70),
        ("sansio_sse_trio", 275, 90),
        ("sansio_sse_sockets", 355, 125),
    ],
)
def test_a_driver_stays_thin(driver: str, most: int, most_for_many: int) -> None:
    files = [path for path in FILES if path.parent.name == driver]
    for part, limit in (
        ([path for path in files if path.name != "pool.py"], most),
        ([path for path in files if path.name == "pool.py"], most_for_many),
    ):
        lines = sum(map(code_lines, part))
        assert lines <= limit, f"{driver}: {lines} lines of code; what of it belongs in the core?"
