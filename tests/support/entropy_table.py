"""How the entropy of each distribution of either host is got, with an example of each.

`python -m tests.support.entropy_table` writes the table of docs/entropies.md.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.helpers import LAST_DIGITS

PAGE = Path(__file__).parents[2] / "docs" / "entropies.md"

EPS = float(np.finfo(np.float32).eps)
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


def page(errors: Mapping[str, str]) -> str:
    """The whole of docs/entropies.md, with the errors in float32 by row."""
    from tests.numpyro.entropy_cases import CASES as NUMPYRO
    from tests.pyro.entropy_cases import CASES as PYRO

    rows: dict[str, list[dict[str, None]]] = {}
    for column, cases in enumerate((PYRO, NUMPYRO)):
        for name, case in cases.items():
            row = rows.setdefault(row_of(name), [{}, {}, {}])
            row[column][case.kind] = None
            if case.note:
                row[2][case.note] = None
    lines = [
        "| Distribution | Pyro | NumPyro | In float32 | Note |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in sorted(rows, key=str.lower):
        pyro, numpyro, note = (list(cell) for cell in rows[name])
        cells = [" or ".join(pyro) or "—", " or ".join(numpyro) or "—"]
        cells += [errors.get(name, "—"), "; ".join(note)]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return INTRODUCTION + "\n".join(line.replace("|  |", "| |") for line in lines) + "\n"


def row_of(name: str) -> str:
    """The name of the table's row of a class."""
    return re.sub("(Probs|Logits)$", "", name)


def stated_errors() -> dict[str, str]:
    """The errors in float32 that the page states, by row."""
    lines = [line.split(" | ") for line in PAGE.read_text().splitlines()]
    cells = (line for line in lines if len(line) == 5 and line[0].startswith("| `"))
    return {line[0][3:-1]: line[3] for line in cells if re.fullmatch(r"\de-\d+", line[3])}


def assert_stated(units: Mapping[str, float]) -> None:
    """Errors of classes, in units of the last digit, are small and those that the page states."""
    stated = stated_errors()
    # Another machine's functions round otherwise.
    wrong = {n: u for n, u in units.items() if not u * EPS <= 2 * float(stated[row_of(n)])}
    assert not wrong, "write the page anew: python -m tests.support.entropy_table"
    assert all(error <= LAST_DIGITS for error in units.values()), units


def measured_errors() -> dict[str, str]:
    """The largest relative error in float32 of each row's classes, rounded up to one digit."""
    from tests.numpyro import extreme_cases as numpyro
    from tests.pyro import extreme_cases as pyro

    worst: dict[str, float] = {}
    for side in (pyro, numpyro):
        for table in (side.EXTREMES, side.OTHERS):
            for name, extreme in table.items():
                row, error = row_of(name), side.last_digits(extreme).max() * EPS
                worst[row] = max(worst.get(row, 0.0), error)
    return {row: _up_to_one_digit(error) for row, error in worst.items()}


def _up_to_one_digit(error: float) -> str:
    # No result is better than its last digit.
    exponent = math.floor(math.log10(max(error, EPS)))
    digit = math.ceil(max(error, EPS) / 10**exponent)
    return f"{digit}e{exponent}" if digit < 10 else f"1e{exponent + 1}"


INTRODUCTION = """\
# Entropies

The entropy sum needs the entropy of every site's distribution. `closed_entropy(fn)` has it in
closed form for most of them, `entropy_estimate(fn, num_samples)` as well as it can be had for all
(in NumPyro a random key comes first), with its Monte-Carlo standard error and the name of the
method. Both are in `entropies/estimate.py` of either package. Wrappers are taken off first:
`to_event` sums, `expand` and plates broadcast, and elements that a mask hides count zero.

A distribution is recognised by its type. A subclass of yours has the entropy of its base, and the
natural parameters, until it has a density or draws of its own (`log_prob`, `sample`, `rsample`).
Then it is another distribution, with the entropy that it defines or a sampled one. A report checks
the closed form of a class of yours against its own draws, and says where they differ.

- **host**: the host's own `entropy`.
- **ours**: in closed form too, for what the host lacks, or where the host's own loses digits: of
  a gamma distribution of shape 1e6 it is off by 0.37 nats in float32, since numbers as large as
  `a log a` cancel. Ours has only what is left of them (`entropy_core/entropies/`). Counts (Poisson,
  binomial, negative binomial, multinomial) are exact to nine digits in float64 for means up to 1e5,
  by one short quadrature instead of a sum over the support. A transformed distribution whose
  transforms have a constant Jacobian, affine ones say, is among these wherever its base is.
- **change of variables**: `H[f(u)] = H[u] + E[log|det f'(u)|]` with the base's entropy in closed
  form; only the determinant is sampled. Any transformed distribution is treated so, of which the
  table shows one.
- **sampled**: the mean of `-log p` over fresh draws.
- **none**: it has no entropy. The site counts in the ELBO and not in the entropy sum.

The column **in float32** has the largest error of a closed form over a grid of extreme parameters,
among them shapes and degrees of freedom from 1e-3 to 1e7, scales from 1e-20 to 1e15, and logits
from -100 to 60: relative to the entropy, or in nats where that is below one, and rounded up to one
digit. It is measured against float64 at the same parameters. A **change of variables** and a
**sampled** entropy have their standard error instead.

A dash: the host has no such class, or the entropy is no closed form. Continuous distributions have
their differential entropy, and those with an atom their entropy against that atom's counting
measure.

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
    PAGE.write_text(page(measured_errors()))
