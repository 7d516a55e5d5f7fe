"""One version, wherever it is written."""

import tomllib
from pathlib import Path

import entropy_core
import numpyro_entropy
import pyro_entropy

ROOT = Path(__file__).parents[2]


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = project["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
    for package in (entropy_core, pyro_entropy, numpyro_entropy):
        assert package.__version__ == version
