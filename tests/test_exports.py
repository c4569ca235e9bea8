"""What is public is listed in order, documented, and of one version."""

import ast
import importlib
import inspect
import itertools
import tomllib
from types import ModuleType

import pytest

import sansio_sse
from tree import PACKAGES, ROOT, modules_of

PUBLIC_MODULES = [
    name
    for package in PACKAGES
    for name in modules_of(package)
    if not any(part.startswith("_") for part in name.split("."))
]


def public_names(module: ModuleType) -> list[str]:
    """What a module exports; one inside a backend may leave that to its package."""
    inside_a_backend = module.__name__ not in PACKAGES and not module.__name__.startswith(
        "sansio_sse."
    )
    names: list[str] = getattr(module, "__all__", []) if inside_a_backend else module.__all__
    return names


def in_order(names: list[str]) -> list[str]:
    """Constants, then classes, then the rest, as ruff's RUF022 writes them."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def documented_assignments(module: ModuleType) -> set[str]:
    """The names at the top of a module which are assigned with a docstring below."""
    body = ast.parse(inspect.getsource(module)).body
    branches = [node.orelse for node in body if isinstance(node, ast.If)]
    return {
        ast.unparse(target)
        for block in (body, *branches)
        for node, below in itertools.pairwise(block)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }


def is_documented(module: ModuleType, name: str) -> bool:
    value = getattr(module, name)
    if inspect.isclass(value):
        # The generated docstrings of dataclasses and named tuples are only their signatures.
        return value.__doc__ is not None and not value.__doc__.startswith(f"{name}(")
    if inspect.isroutine(value) or inspect.ismodule(value):
        return bool(value.__doc__)
    # A constant or an alias does not know where it was made: it is looked for among all modules.
    return any(
        name in documented_assignments(importlib.import_module(candidate))
        for candidate in PUBLIC_MODULES
    )


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_a_module_says_what_it_is_for_and_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    names = public_names(module)
    assert names == in_order(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    undocumented = [
        public
        for public in public_names(module)
        if public != "__version__" and not is_documented(module, public)
    ]
    assert undocumented == []


def test_an_undocumented_name_is_found() -> None:
    planted = ModuleType("planted")

    class Bare:
        pass

    planted.__dict__["Bare"] = Bare
    assert not is_documented(planted, "Bare")
    Bare.__doc__ = "Bare(x: int)"
    assert not is_documented(planted, "Bare")
    Bare.__doc__ = "A class."
    assert is_documented(planted, "Bare")


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sansio_sse.__version__ == project["version"]
