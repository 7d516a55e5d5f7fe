"""Random model graphs for both sides: plain descriptions, from which each side makes a pair."""

from typing import NamedTuple

from hypothesis import strategies as st

# By name: the numbers that stand for a family's parameters are positive, and a parent of the site
# moves the first of them.
REAL = ("Normal", "Laplace", "StudentT")
POSITIVE = ("Gamma", "LogNormal", "HalfCauchy")
DISCRETE = ("Bernoulli", "Poisson")
OBSERVED = (*REAL, *POSITIVE, *DISCRETE)

# Few sizes, and equal ones, so that JAX compiles few functions.
ROWS, COLUMNS, WIDTH = 2, 2, 2


class Node(NamedTuple):
    """A sample site.

    Args:
        family: The family of its distribution in the model.
        guide_family: That in the guide, on the same support; of no meaning if it is observed.
        plates: Which of the plates `"rows"` (dim -1) and `"columns"` (dim -2) are around it.
        event: Whether its last dimension is one of events, of the size `WIDTH`.
        parents: The latent sites before it that move it, as numbers.
        numbers: Parameters of the model's and of the guide's distribution.
        scale: That of a handler around it.
        mask: Whether a mask hides some of its elements: none, from a handler, or in its events.
    """

    family: str
    guide_family: str
    plates: tuple[str, ...]
    event: bool
    parents: tuple[int, ...]
    numbers: tuple[float, float, float, float]
    scale: float
    mask: str | None


class Graph(NamedTuple):
    """Latent sites, and one observed site, the last.

    Args:
        nodes: The sites.
        num_rows: How many rows there are, of which `ROWS` are looked at.
        seed: Of the draws and data.
    """

    nodes: tuple[Node, ...]
    num_rows: int
    seed: int


@st.composite
def graphs(draw) -> Graph:
    """A graph of one to four sites, the last one observed."""
    num_latents = draw(st.integers(0, 3))
    nodes: list[Node] = []
    for i in range(num_latents + 1):
        observed = i == num_latents
        plates = ("rows",) if observed else draw(st.sampled_from([(), ("rows",)]))
        if draw(st.booleans()) and plates:
            plates = (*plates, "columns")
        # A parent may not be in a plate that the site is not in.
        able = [j for j, node in enumerate(nodes) if set(node.plates) <= set(plates)]
        support = draw(st.sampled_from([REAL, POSITIVE]))
        nodes.append(
            Node(
                draw(st.sampled_from(OBSERVED if observed else support)),
                draw(st.sampled_from(support)),
                plates,
                draw(st.booleans()),
                tuple(j for j in able if draw(st.booleans())),
                draw(st.sampled_from([(0.3, 0.8, 0.6, 0.5), (1.2, 2.0, 0.9, 1.4)])),
                draw(st.sampled_from([1.0, 1.0, 0.5, 3.0])),
                draw(st.sampled_from([None, None, "handler", "events"])),
            )
        )
    return Graph(tuple(nodes), draw(st.sampled_from([ROWS, 5])), draw(st.integers(0, 999)))
