"""Where the project's packages and modules are, for the tests that look at all of them."""

import importlib.util
import pkgutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = [
    "sansio_sse",
    *sorted(path.parent.name for path in ROOT.glob("backends/*/__init__.py")),
]


def module_at(path: Path) -> Any:
    """The module of a script that is not on the path, so mypy cannot know what is in it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def folder_of(package: str) -> Path:
    """The folder a package is imported from: the installed one where that is being tested."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, (
        f"{package} is not installed: is it among the packages in pyproject.toml?"
    )
    assert spec.origin is not None
    return Path(spec.origin).parent


def modules_of(package: str) -> list[str]:
    """The names of a package and of all modules in it, without those that run when imported."""
    found = pkgutil.walk_packages([str(folder_of(package))], prefix=f"{package}.")
    return [package, *(info.name for info in found if not info.name.endswith(".__main__"))]
