"""How Sphinx builds the documentation."""

from importlib.metadata import version as version_of

project = "sansio-sse"
author = "The sansio-sse developers"
project_copyright = author
release = version_of("sansio-sse")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # else what stands under "Attributes:" is described twice

html_theme = "furo"
html_title = f"sansio-sse {release}"
