"""How the entropy of each distribution of either host is got, with an example of each.

`python -m tests.support.entropy_table` writes the table of docs/entropies.md.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "entropies.md"

HOST, OURS, CHANGE, SAMPLED, NONE = "host", "ours", "change of variables", "sampled", "none"


@dataclass(frozen=True)
class Case:
    """An example of a distribution, and how its entropy is got.

    Args:
        kind: How.
        make: Makes the example from a function that makes float64 arrays.
        note: For the table in the docs.
        num: The number of draws of the test.
        wraps: Whether the host can expand and mask it.
    """

    kind: str
    make: Callable[..., Any]
    note: str = ""
    _: KW_ONLY
    num: int = field(default=20_000)
    wraps: bool = True


def host_classes(module: Any, base: type) -> set[str]:
    """The names of all distributions of a host."""
    return {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base)
    }


def missing(module: Any, base: type, table: dict[str, Case], skipped: dict[str, str]) -> str:
    """What a host has and the table does not, as a message."""
    names = sorted(host_classes(module, base) - table.keys() - skipped.keys())
    return (
        f"not in the table: {names}; add an example of each to tests/entropy_table.py, or a reason"
        " to its SKIPPED list"
        if names
        else ""
    )


def page() -> str:
    """The whole of docs/entropies.md."""
    from tests.numpyro.entropy_cases import CASES as NUMPYRO
    from tests.pyro.entropy_cases import CASES as PYRO

    rows: dict[str, list[dict[str, None]]] = {}
    for column, cases in enumerate((PYRO, NUMPYRO)):
        for name, case in cases.items():
            row = rows.setdefault(re.sub("(Probs|Logits)$", "", name), [{}, {}, {}])
            row[column][case.kind] = None
            if case.note:
                row[2][case.note] = None
    lines = ["| Distribution | Pyro | NumPyro | Note |", "| --- | --- | --- | --- |"]
    for name in sorted(rows, key=str.lower):
        pyro, numpyro, note = (list(cell) for cell in rows[name])
        cells = [" or ".join(pyro) or "—", " or ".join(numpyro) or "—", "; ".join(note)]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return INTRODUCTION + "\n".join(line.replace("|  |", "| |") for line in lines) + "\n"


INTRODUCTION = """\
# Entropies

The entropy sum needs the entropy of every site's distribution. `closed_entropy(fn)` has it in
closed form for most of them, `entropy_estimate(fn, num_samples)` as well as it can be had for all
(in NumPyro a random key comes first), with its Monte-Carlo standard error and the name of the
method. Both are in `entropies/estimate.py` of either package. Wrappers are taken off first:
`to_event` sums, `expand` and plates broadcast, and elements that a mask hides count zero.

A distribution is recognised by its type. A subclass of yours has the entropy of its base, and the
natural parameters, until it has a density or draws of its own (`log_prob`, `sample`, `rsample`).
Then it is another distribution, with the entropy that it defines or a sampled one.

- **host**: the host's own `entropy`.
- **ours**: in closed form too, for what the host lacks. Counts (Poisson, binomial, negative
  binomial, multinomial) are exact to ten digits in float64 for every rate, by one short
  quadrature instead of a sum over the support. A transformed distribution whose transforms have a
  constant Jacobian, affine ones say, is among these wherever its base is.
- **change of variables**: `H[f(u)] = H[u] + E[log|det f'(u)|]` with the base's entropy in closed
  form; only the determinant is sampled. Any transformed distribution is treated so, of which the
  table shows one.
- **sampled**: the mean of `-log p` over fresh draws.
- **none**: it has no entropy. The site counts in the ELBO and not in the entropy sum.

A dash: the host has no such class. Continuous distributions have their differential entropy, and
those with an atom their entropy against that atom's counting measure.

## Base measures

The theorem reads an exponential family `p(v) = h(v) exp(eta . T(v) - A)` whose base measure `h` is
constant. Where it is not, `E_q[log h(v)] - E_q E_p[log h]` remains at a stationary point.
`log_base_measure(fn, value)` and `mean_log_base_measure(fn)`, in `entropies/base_measures.py` of
either package, give its two parts, the second one exact:

| Distribution | `log h(v)` |
| --- | --- |
| `Poisson` | `-log v!` |
| `Binomial` | `log n! - log v! - log (n - v)!` |
| `Multinomial` | `log n! - sum_k log v_k!` |
| `NegativeBinomial`, `GammaPoisson` | `log Gamma(v + r) - log Gamma(r) - log v!`, with `r` fixed |

## Every distribution

This table comes from the tests, which compare each row with draws of the host, and which fail when
a host has a distribution that is not here.

"""


if __name__ == "__main__":
    PAGE.write_text(page())
