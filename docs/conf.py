"""How the documentation is built: ``make docs``. Nothing is fetched while it is built."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1] / "src")]

from equipoise import __version__  # noqa: E402 - found by the path above

project = "equipoise"
author = "The equipoise authors"
copyright = "the equipoise authors, Apache-2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "generate",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "tutorials/files"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_use_ivar = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

myst_enable_extensions = ["attrs_block", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"equipoise {version}"
html_static_path = ["_static"]
html_css_files = ["equipoise.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "default"
