"""How Sphinx builds the documentation."""

import re
from importlib.metadata import version as version_of
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

project = "sansio-sse"
author = "The sansio-sse developers"
project_copyright = author
release = version_of("sansio-sse")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # else what stands under "Attributes:" is described twice

# A reference that leads nowhere is an error, except for what other projects document (their
# inventories are on the net, which a build must not need) and for what is private here.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(asyncio|collections|concurrent|contextlib|enum|json|ssl|typing)\..*"),
    ("py:.*", r"(ag_ui|anyio|httpx2?|opentelemetry|os|prometheus_client|pytest|trio|types)\..*"),
    ("py:.*", r"FieldInfo|NoneType"),  # of pydantic, inside of what ag_ui annotates
    ("py:.*", r"(.*\.)?(T|[A-Z]\w+T|_\w+|\w*Counters)"),
    ("py:.*", r"(.*\.)?(AttemptInProgress|Accepted|Redirected|Refused)"),
    ("py:.*", r"sansio_sse_\w+\.loop\.LoopVerbs"),
]

html_theme = "furo"
html_title = f"sansio-sse {release}"


def keep_first_line(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from reading what stands before a colon as the type of an attribute."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment, which it may have for its first line


def leave_out(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out how classes are made: what a named tuple says of its fields, and slots."""
    made = type(obj).__name__ == "_tuplegetter" or name in ("SLOTS", "SYNC_SLOTS")
    return True if made else None


_UNION = re.compile(
    r"[\w.~]*Annotated\[[^\[\]]*discriminator='type'\)\](?: \| [\w.~]*UnknownEvent)?"
)


def name_unions(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    args: str | None,
    returns: str | None,
) -> tuple[str, str] | None:
    """Call the union of all events of AG-UI by its name, in place of all of theirs."""
    if not name.startswith("sansio_sse_agui.") or args is None:
        return None
    return _UNION.sub("RunEvent", args), _UNION.sub("RunEvent", returns or "")


def find_short_name(app: Sphinx, env: Any, node: Any, text: Any) -> Any:
    """Resolve ``ConfigError`` or ``sansio_sse.ConfigError`` to where it is described."""
    if node.get("refdomain") != "py":
        return None
    wanted = str(node["reftarget"]).removeprefix("sansio_sse.")
    objects = env.domains["py"].objects
    found = {
        name: entry
        for name, entry in objects.items()
        if name.endswith(f".{wanted}") and not entry.aliased
    }
    # A backend may have the same name for something of its own, and then it is said in full.
    core = {name: entry for name, entry in found.items() if name.startswith("sansio_sse.")}
    found = core or found
    if len(found) != 1:
        return None
    [entry] = found.values()
    source = node.get("refdoc", env.docname)
    return make_refnode(app.builder, source, entry.docname, entry.node_id, text)


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", keep_first_line, priority=400)  # napoleon has 500
    app.connect("autodoc-process-signature", name_unions)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("missing-reference", find_short_name)
