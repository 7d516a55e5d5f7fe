"""Random pairs and the styles in which a user may write one and look at it, for both sides."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.testing import assert_allclose

from tests.support.sums import assert_same_report

# Few sizes, so that JAX compiles few functions: data points of a kind, columns of the data, the
# most latent sites, the dimensions of one.
ROWS, COLUMNS, LATENTS, WIDTH = 3, 2, 3, 2

REAL = ("Normal", "Laplace")
POSITIVE = ("Gamma", "LogNormal")
OBSERVED = ("Normal", "Laplace", "Gamma", "Bernoulli")
CUTS = ((3,), (2, 1), (1, 2))

Batch = dict[str, Any]


class Latent(NamedTuple):
    """A latent site in the data plate.

    Args:
        family: That of its prior; the guide's is a normal one, or the exponential of one.
        event: Whether it has a dimension of events.
        parents: The latent sites before it that move it, in the model and in the guide.
    """

    family: str
    event: bool
    parents: tuple[int, ...]


class Graph(NamedTuple):
    """A model and a guide.

    Args:
        latents: The latent sites.
        observed: The families of the observed sites, each a column of the data.
        shared: Whether there is a latent site outside the data plate.
        labelled: Whether half of the data points have labels, and so one more site.
        mask: Which of the data points bring a mask: `"none"`, `"half"` or `"all"`.
        net: How nets are called: as a `"module"`, by a `"method"`, or there is `"none"`.
        nets: Which of `"guide"` and `"both"` has one.
        seed: Of the data, of the noise, and of the net's weights.
    """

    latents: tuple[Latent, ...]
    observed: tuple[str, ...]
    shared: bool
    labelled: bool
    mask: str
    net: str
    nets: str
    seed: int


class Style(NamedTuple):
    """How a pair is written and looked at; none of it may change a report.

    Args:
        form: What model and guide are: a name of either side's table.
        arguments: How a batch says its arguments.
        cuts: The sizes of the batches of each half of the data points.
        shuffle: The seed of the order of data points and of batches, or `None`.
        mode: The nets' before the look: `"train"`, `"eval"` or `"mixed"`.
        merged: Whether two passes are merged.
        jit: Whether functions are compiled, on the side that compiles.
    """

    form: str
    arguments: str
    cuts: tuple[tuple[int, ...], tuple[int, ...]]
    shuffle: int | None
    mode: str
    merged: bool
    jit: bool


class Plan(NamedTuple):
    """A pair, a style of it, and what is asked of both."""

    graph: Graph
    style: Style
    closed_form: bool
    explain: bool


PLAIN = Style("function", "positional", ((ROWS,), (ROWS,)), None, "eval", False, False)


def plan_of(seed: int, forms: Sequence[str], arguments: Sequence[str], nets: Sequence[str]) -> Plan:
    """A random pair, and a style of it out of those that a side has."""
    rng = np.random.default_rng(seed)

    def one_of(choices: Sequence[Any]) -> Any:
        return choices[rng.integers(len(choices))]

    def chance(probability: float = 0.5) -> bool:
        return bool(rng.random() < probability)

    latents = tuple(
        Latent(one_of(REAL + POSITIVE), chance(), tuple(j for j in range(i) if chance()))
        for i in range(one_of([1, 1, 2, LATENTS]))
    )
    graph = Graph(
        latents=latents,
        observed=tuple(one_of(OBSERVED) for _ in range(rng.integers(1, COLUMNS + 1))),
        shared=chance(),
        labelled=chance(0.3),
        mask=one_of(["none", "none", "half", "all"]),
        net=one_of(nets),
        nets=one_of(["guide", "both"]),
        seed=seed,
    )
    style = Style(
        form=one_of(forms),
        arguments=one_of(arguments),
        cuts=(one_of(CUTS), one_of(CUTS)),
        shuffle=seed if chance() else None,
        mode=one_of(["train", "train", "eval", "mixed"]),
        merged=chance(),
        jit=chance(0.05),
    )
    return Plan(graph, style, closed_form=chance(), explain=chance(0.05))


def batches_of(graph: Graph, style: Style) -> list[Batch]:
    """The batches of a pair in a style, each of arguments by name.

    The noise of a draw is an argument: that of a data point, whichever batch this is in.
    """
    rng = np.random.default_rng(graph.seed)
    halves = []
    for half in range(1 + (graph.labelled or graph.mask == "half")):
        arrays: Batch = {
            "x": 1.5 * rng.standard_normal((ROWS, COLUMNS)),
            "noise": rng.standard_normal((ROWS, LATENTS, WIDTH)),
        }
        if graph.labelled and not half:
            arrays["y"] = rng.standard_normal(ROWS)
        if graph.mask == "all" or (graph.mask == "half" and not half):
            arrays["mask"] = rng.permutation(np.arange(ROWS) < ROWS - 1)
        halves.append(arrays)
    order = None if style.shuffle is None else np.random.default_rng(style.shuffle)
    batches = []
    for arrays, sizes in zip(halves, style.cuts, strict=False):
        rows = np.arange(ROWS) if order is None else order.permutation(ROWS)
        for part in np.split(rows, np.cumsum(sizes)[:-1]):
            batches.append({name: array[part] for name, array in arrays.items()})
    return batches if order is None else [batches[i] for i in order.permutation(len(batches))]


def as_said(batch: Batch, arguments: str) -> Any:
    """A batch in one of the ways to say the arguments of a model and of a guide."""
    by_place = [batch.get(name) for name in ("x", "noise", "y", "mask")]
    while by_place[-1] is None:
        by_place.pop()
    if arguments == "keyword":
        return dict(batch)
    if arguments == "reversed keywords":
        return dict(reversed(batch.items()))
    if arguments == "mixed":
        rest = {name: array for name, array in batch.items() if name not in ("x", "noise")}
        return (batch["x"], batch["noise"]), rest
    if arguments == "one and keywords":
        return (batch["x"],), {name: array for name, array in batch.items() if name != "x"}
    return by_place if arguments == "list" else tuple(by_place)


class Again:
    """Batches that can be passed over again and again, and are no list."""

    def __init__(self, batches: Sequence[Any]):
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def assert_same_look(report, reference, *, explain: bool) -> None:
    """All numbers and words; what is had without a draw up to rounding."""
    assert_same_report(report, reference)
    sites, others = report.sites(), reference.sites().loc[report.sites().index]
    for what in ("term", "entropy"):
        exact = (sites[f"{what}_method"] == "closed form").to_numpy()
        left, right = (frame[what].to_numpy()[exact] for frame in (sites, others))
        assert_allclose(left, right, rtol=1e-12, atol=1e-12, err_msg=what)
    if not explain:
        assert sorted(report.findings()) == sorted(reference.findings())
        return
    # At the draws of a small first batch fewer directions are found than at those of a large one,
    # so that claims may be others; what they explain is all of the gap.
    total, other = (found.claims()["residual"].sum() for found in (report, reference))
    assert_allclose(total, other, rtol=1e-9, atol=1e-12)
