"""Builds the documentation without the network: no intersphinx, no scripts to fetch."""

import logging
import re
from importlib.metadata import version as installed_version
from itertools import pairwise

from numpy.typing import ArrayLike, DTypeLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

project = "elbo-entropy"
author = "the elbo-entropy developers"
copyright = author
release = version = installed_version("elbo-entropy")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"elbo-entropy {release}"
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Tutorials are run when their text has changed; an error in one is an error of the build.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_merge_streams = True

# Docstrings put code and formulas in single backticks.
default_role = "literal"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


# It announces its plotting backend on import.
logging.getLogger("arviz").setLevel(logging.WARNING)

# What signatures say, and what the code says.
LONG_TYPES = {
    re.escape(stringify_annotation(ArrayLike, "smart")): "ArrayLike",
    re.escape(stringify_annotation(DTypeLike, "smart")): "DTypeLike",
    r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[(.*?)\]\]": r"NDArray[\1]",
    r"jaxlib\._jax\.Array": "Array",
    "<factory>": "...",
}


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


def shorten_types(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Writes array types as the code does, not as what they stand for."""

    def short(text: str | None) -> str | None:
        if text is None:
            return None
        for long, name in LONG_TYPES.items():
            text = re.sub(long, name, text)
        return text

    return short(signature), short(returns)


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", shorten_types)
    # Ahead of napoleon, whose sections have no blank line before what is indented.
    app.connect("autodoc-process-docstring", mark_formulas, priority=400)
