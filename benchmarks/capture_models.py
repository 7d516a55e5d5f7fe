"""Which models of Pyro's tutorials and examples can be replayed from a graph, and what it gains.

Each model of the tests trains with Pyro's `SVI` and with `CapturedSVI` from the same weights and
draws. "Same" says that at each step of a short run, the loss and each gradient of the graph were
those of the untraced loss, bit for bit; the gain is the ratio of the median times of a step.

    .venv/bin/python benchmarks/capture_models.py  # after `make demo`; writes capture_models.txt
"""

import argparse
import logging
import platform
import statistics
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import SVI

from entropy_core.files import write_whole
from pyro_entropy import CapturedSVI
from tests.pyro.capture.test_models import NAMES, made


def trained(name: str, kind: type, num_steps: int, **options: Any) -> tuple[Any, float]:
    """An SVI after some steps on each batch, and the median seconds of the later half of them."""
    (model, guide), calls, loss = made(name)
    svi = kind(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss, **options)
    times = []
    for _ in range(num_steps):
        for call in calls:
            start = time.perf_counter()
            svi.step(*call.args, **call.kwargs)
            times.append(time.perf_counter() - start)
    return svi, statistics.median(times[len(times) // 2 :])


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, help="which models")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    lines = [
        "Models of the tests, replayed from a graph: python benchmarks/capture_models.py",
        f"torch {version('torch')}, pyro-ppl {version('pyro-ppl')}, Python "
        f"{platform.python_version()}; two shared cores, one thread; {args.steps} steps a model",
        "",
        f"{'model':<34}{'same':<6}{'SVI ms':>8}{'gain':>7}",
    ]
    print("\n".join(lines))
    gains, captured = [], 0
    for name in args.names:
        checked, _ = trained(name, CapturedSVI, 12, check_every=1)
        _, host = trained(name, SVI, args.steps)
        svi, ours = trained(name, CapturedSVI, args.steps)
        reasons = "; ".join(svi.captures.reasons)
        same = "-" if reasons else "no" if checked.captures.reasons else "yes"
        line = f"{name:<34}{same:<6}{1e3 * host:>8.2f}{host / ours:>7.2f}  {reasons}".rstrip()
        lines.append(line)
        print(line, flush=True)
        gains.append(host / ours)
        captured += not reasons
    middle = statistics.median(gains)
    lines += ["", f"captured: {captured} of {len(gains)}; median gain {middle:.2f}"]
    print(lines[-1])
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
