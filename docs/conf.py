"""How Sphinx builds the documentation; it needs no network."""

from wclayer import __version__

project = "wclayer"
author = "The wclayer authors"
project_copyright = "The wclayer authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Two rooms may have classes of one name; short annotations cannot tell them apart, their pages do.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"wclayer {release}"
html_copy_source = False
