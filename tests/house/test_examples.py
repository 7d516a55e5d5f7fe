"""Every example runs with tiny arguments, and so does every code block of the README."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

from entropy_core import datasets
from entropy_core.report import EntropyReport
from tests.support.helpers import mostly

ROOT = Path(__file__).parents[2]

TINY = {
    "conv_vae": ["--num-data", "200", "--epochs", "1", "--hidden", "2", "--latent-dim", "2"],
    "mnist": ["--num-data", "300", "--epochs", "2", "--hidden", "8", "--latent-dim", "2"],
    "edvae_table": [
        *("--num-data", "40", "--num-test", "20", "--num-likelihood", "5", "--draws", "5"),
        *("--epochs", "1", "--hidden", "4", "--seeds", "1", "--sets", "2", "--batch-size", "20"),
        *("--priors", "mixture", "--objectives", "ED-VAE, densities"),
    ],
    "linear_vae": ["--num-data", "200", "--epochs", "20", "--draws", "3"],
}


def load(name, folder="examples"):
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_tiny_arguments():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == TINY.keys()


CELLS = [(name, backend) for name in TINY for backend in ("pyro", "numpyro", "both")]
# The examples share their command line: one of them shows that a backend alone works.
FAST = [("mnist", "both"), ("linear_vae", "numpyro"), ("conv_vae", "pyro")]


@pytest.mark.parametrize(("name", "backend"), mostly(CELLS, FAST))
def test_examples(name, backend, tmp_path, capsys):
    arguments = [*TINY[name], "--backend", backend, "--output", str(tmp_path)]
    reports = load(name).main(arguments)
    printed = capsys.readouterr().out
    assert len(reports) == (2 if backend == "both" else 1)
    for label, report in reports.items():
        assert label in printed
        assert f"{report['elbo']:.3f}" in printed
        saved = EntropyReport.load(tmp_path / f"{label.lower()}.nc")
        assert saved.to_datatree().identical(report.to_datatree())
    for path in printed.split("Written:")[1].split():
        assert Path(path).stat().st_size > 0


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "benchmarks").glob("*.py")])
def test_benchmarks_take_their_arguments(name, capsys, monkeypatch):
    # As for a script: one of them imports another.
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    with pytest.raises(SystemExit, match="0"):
        load(name, "benchmarks").main(["--help"])
    assert "--output" in capsys.readouterr().out


PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_docs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The blocks of a page are read from top to bottom, and build on each other.
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, page.name, "exec"), names)


README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_readme(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The README trains for long enough to be worth it; here it is enough that it runs.
    block = re.sub(r"num_epochs=\d+", "num_epochs=1", block)
    data = datasets.mnist_5k()
    few = replace(data, train=data.train[:100])
    monkeypatch.setattr(datasets, "mnist_5k", lambda: few)
    exec(compile(block, "README.md", "exec"), {})
