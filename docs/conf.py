"""Builds the documentation without the network: no intersphinx, no scripts to fetch."""

from importlib.metadata import version as installed_version
from itertools import pairwise

from sphinx.application import Sphinx

project = "elbo-entropy"
author = "the elbo-entropy developers"
copyright = author
release = version = installed_version("elbo-entropy")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"elbo-entropy {release}"
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings put code and formulas in single backticks.
default_role = "literal"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False


def mark_formulas(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Makes the indented formulas of a docstring literal: "|C|" is no substitution."""
    marked = lines[:1]
    for before, line in pairwise(lines):
        paragraph_above = len(marked) > 1 and marked[-2] and not marked[-2].startswith(" ")
        if not before and paragraph_above and line.startswith("    "):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def setup(app: Sphinx) -> None:
    # Ahead of napoleon, whose sections have no blank line before what is indented.
    app.connect("autodoc-process-docstring", mark_formulas, priority=400)
