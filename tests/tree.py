"""Where the project's packages and modules are, for the tests that look at all of them."""

import importlib
import pkgutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = [
    "sansio_sse",
    *sorted(path.parent.name for path in ROOT.glob("backends/*/__init__.py")),
]


def folder_of(package: str) -> Path:
    """The folder a package was imported from: the installed one where that is being tested."""
    file = importlib.import_module(package).__file__
    assert file is not None
    return Path(file).parent


def modules_of(package: str) -> list[str]:
    """The names of a package and of all modules in it, without those that run when imported."""
    found = pkgutil.walk_packages([str(folder_of(package))], prefix=f"{package}.")
    return [package, *(info.name for info in found if not info.name.endswith(".__main__"))]
