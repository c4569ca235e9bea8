"""Every snippet of the documentation runs, and so does every example in a docstring.

A page is one program: its snippets share one namespace and run in order. What a snippet needs and a
reader does not (a server on the other side, for one) stands in the page as an invisible block::

    <!-- invisible-code-block: python
    ...
    -->

Hosts that a page speaks of are played by functions of such a block: see docs_server.py.
"""

import doctest
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Sybil
from sybil.document import Document
from sybil.example import SybilFailure
from sybil.parsers.myst import PythonCodeBlockParser

import docs_server
from sansio_sse_asyncio import transport
from tree import PACKAGES, ROOT, modules_of

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [name for package in PACKAGES for name in modules_of(package)]
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL

SYBIL = Sybil([PythonCodeBlockParser(doctest_optionflags=FLAGS)], path=str(ROOT))


def run(page: Document) -> int:
    """Run all snippets of a page and return how many there were."""
    examples = list(page.examples())
    for example in examples:
        example.evaluate()
    return len(examples)


def run_docstrings(module: ModuleType) -> None:
    """Run the examples in the docstrings of a module, and stop at the first that is wrong.

    Going on, which is what doctest does by default, would go on after a timeout as well.
    """
    try:
        doctest.testmod(module, optionflags=FLAGS, raise_on_error=True)
    except doctest.DocTestFailure as failure:
        example = failure.example
        difference = doctest.OutputChecker().output_difference(example, failure.got, FLAGS)
        pytest.fail(f"{failure.test.name}: {example.source}{difference}", pytrace=False)
    except doctest.UnexpectedException as failure:
        raise failure.exc_info[1] from None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_snippets_of_a_page_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "open_link", docs_server.open_link)
    monkeypatch.setattr(docs_server, "SERVERS", {})
    run(SYBIL.parse(path))


def test_the_reference_describes_every_module_of_the_core() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    described = set(re.findall(r"automodule:: ([\w.]+)", text))
    # What is inside of a package is public by way of the package.
    modules = {".".join(name.split(".")[:2]) for name in modules_of("sansio_sse")}
    assert {name for name in modules if "._" not in name} - described == set()


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    run_docstrings(importlib.import_module(name))


@pytest.mark.parametrize(
    "page",
    [
        "```python\nassert False\n```\n",
        "```python\nx = 1\n```\ntext\n```python\nassert x == 2\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```{code-block} python\nassert False\n```\n",
        "<!-- invisible-code-block: python\nassert False\n-->\n",
    ],
)
def test_a_snippet_that_is_wrong_is_found(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    with pytest.raises((AssertionError, SybilFailure)):
        run(SYBIL.parse(path))


def test_a_page_is_one_program(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "```python\nx = 1\n```\n```console\n$ not python\n```\n```python\nassert x == 1\n```\n",
        encoding="utf-8",
    )
    assert run(SYBIL.parse(path)) == 2


@pytest.mark.parametrize(
    ("docstring", "message"),
    [
        (">>> 1 + 1\n3\n", "Expected"),
        (">>> int('x')\n3\n", "invalid literal"),
    ],
)
def test_an_example_that_is_wrong_is_found(docstring: str, message: str) -> None:
    with pytest.raises((pytest.fail.Exception, ValueError), match=message):
        run_docstrings(ModuleType("planted", docstring))
