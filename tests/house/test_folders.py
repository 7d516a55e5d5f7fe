"""Imports run down the order of folders that the design gives, and no folder is crowded."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A folder imports only from folders of earlier steps: between those of one step there are none.
STEPS = {
    "entropy_core": [
        ["across", "checks", "operations", "reach", "version"],
        ["arguments", "files"],
        ["coding", "traces", "theory", "entropies", "vaes", "datasets"],
        ["elbos", "results"],
        ["figures", "evaluation"],
        ["report"],
        ["training"],
    ],
}
SIDE = [
    ["compiled", "layouts", "params", "nets", "operations"],
    ["distributions", "priors", "encoders"],
    ["entropies", "decoders"],
    ["traces", "vaes"],
    ["elbos"],
    ["capture", "distributed"],
    ["coding", "diagnostic", "evaluation"],
    ["training"],
]
STEPS |= {"pyro_entropy": SIDE, "numpyro_entropy": SIDE}
# Within a step, where there must be one.
LISTED: set[tuple[str, str]] = set()
MOST_FILES = 9


def imported(path):
    """The modules of this project that a file imports, those inside functions among them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] in STEPS}


def folder_of(path, package):
    parts = path.relative_to(ROOT / package).with_suffix("").parts
    return parts[0]


def modules(package):
    return sorted(
        p for p in (ROOT / package).rglob("*.py") if p.parent.parent != ROOT or p.stem != "__init__"
    )


@pytest.mark.parametrize("package", STEPS)
def test_imports_run_down(package):
    step_of = {name: i for i, names in enumerate(STEPS[package]) for name in names}
    assert {folder_of(path, package) for path in modules(package)} <= step_of.keys()
    wrong = []
    for path in modules(package):
        here = folder_of(path, package)
        for name in imported(path):
            other, _, rest = name.partition(".")
            there = rest.partition(".")[0]
            if other != package or not there or there == here or (here, there) in LISTED:
                continue
            if step_of[there] >= step_of[here]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_the_core_imports_neither_side():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package, foreign in [
            ("entropy_core", {"pyro_entropy", "numpyro_entropy"}),
            ("pyro_entropy", {"numpyro_entropy"}),
            ("numpyro_entropy", {"pyro_entropy"}),
        ]
        for path in modules(package)
        for name in imported(path)
        if name.partition(".")[0] in foreign
    ]
    assert not wrong


def test_no_circle_of_modules():
    def module(path):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        return name.removesuffix(".__init__")

    paths = {module(path): path for package in STEPS for path in (ROOT / package).rglob("*.py")}
    edges = {name: (imported(path) & paths.keys()) - {name} for name, path in paths.items()}
    while True:
        # Leaves are taken off until none is left: what stays is a circle.
        leaves = {name for name, others in edges.items() if not others & edges.keys()}
        if not leaves:
            break
        edges = {name: others for name, others in edges.items() if name not in leaves}
    assert sorted(edges) == []


@pytest.mark.parametrize("package", STEPS)
def test_folders_are_not_crowded(package):
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    counts = {
        str(folder.relative_to(ROOT)): len([p for p in folder.glob("*.py") if p.stem != "__init__"])
        for folder in folders
    }
    assert {name: n for name, n in counts.items() if n > MOST_FILES} == {}


# What runs a model or a guide. Initial values of NumPyro's parts come from a run of the part alone.
RUNS = {"get_importance_trace", "get_trace", "replay"}
ONLY_HERE = {"traces/pairs.py", "params.py"}


@pytest.mark.parametrize("package", ["pyro_entropy", "numpyro_entropy"])
def test_a_users_pair_is_run_in_one_place(package):
    wrong = []
    for path in modules(package):
        file = str(path.relative_to(ROOT / package))
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "attr", getattr(node, "id", None))
            if name in RUNS and file not in ONLY_HERE:
                wrong.append(f"{file}:{node.lineno} {name}")
    assert not wrong
