"""Bugs planted in the core: what those tests share that show that each of them would be found.

A mutant is a small change of a module's source. It is loaded in place of the real one, with what
imports it and the test that is to find it loaded anew on top of it; that one has to fail.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from test_purity import imports_of

HERE = {path.stem for path in Path(__file__).parent.glob("*.py")}

# A model stops at the first bug, so that it may look far; in sound machines it looks less far.
FAR = settings(
    max_examples=500,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
NEAR = settings(FAR, max_examples=30)


class Mutant(NamedTuple):
    module: str
    right: str
    wrong: str
    killer: str
    """A test (module.name, perhaps with arguments behind colons), or a model."""

    def source(self) -> str:
        """The module with the bug in it."""
        source = source_of(self.module)
        assert source.count(self.right) == 1, "what is to be changed stands there once"
        return source.replace(self.right, self.wrong)


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a changed source, not under its own file name: it is not covered."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.code = compile(source, "<mutant>", "exec")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, vars(module))


def spec_of(name: str) -> tuple[Path, str]:
    """The file of a module of the core, and the package it lies in."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin), spec.parent or ""


def source_of(module: str) -> str:
    return spec_of(f"sansio_sse.{module}")[0].read_text()


def loaded(package: str = "sansio_sse") -> list[str]:
    return [name for name in sys.modules if name == package or name.startswith(f"{package}.")]


@cache
def imports(name: str) -> frozenset[str]:
    """What a module of the core imports by name, and what may be a module among it."""
    path, package = spec_of(name)
    found = imports_of(path.read_text(), package)
    return frozenset(name for each in found for name in (each.module, f"{each.module}.{each.name}"))


def users(module: str) -> set[str]:
    """The module and what imports it, directly or not: with another one below, they are others."""
    found = {f"sansio_sse.{module}"}
    while more := {name for name in loaded() if imports(name) & found} - found:
        found |= more
    return found


@contextmanager
def planted(module: str, source: str) -> Generator[None]:
    """The package with that source as the module's, until the end of the block."""
    finder = Planted(f"sansio_sse.{module}", source)
    real = {name: sys.modules[name] for name in [*loaded(), *(HERE & sys.modules.keys())]}
    anew = users(module) | HERE
    for name in anew & real.keys():
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        package = importlib.import_module("sansio_sse")
        for name in real.keys() - anew:
            if name.count(".") == 1:  # what is not loaded is not noted in its package either
                vars(package).setdefault(name.partition(".")[2], real[name])
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [*loaded(), *(HERE & sys.modules.keys())]:
            del sys.modules[name]
        sys.modules.update(real)


def check(killer: str, bound: settings = FAR) -> Callable[[], object]:
    """The test or model of that name, loaded on top of the package as it now is."""
    name, *words = killer.split(":")
    module = importlib.import_module(name.partition(".")[0])
    found: Any = getattr(module, name.partition(".")[2])
    if isinstance(found, type):
        return lambda: run_state_machine_as_test(found, settings=bound)
    arguments = [int(word) if word.isdigit() else getattr(module, word, word) for word in words]
    return lambda: found(*arguments)
