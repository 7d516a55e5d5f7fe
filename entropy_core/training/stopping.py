"""When a training is done: rules over the looks at a model, which know nothing of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from entropy_core.checks import check_non_negative, check_number, check_positive_int, expected

# A two-sided error holds with 95 %.
LEVEL = 0.975


class Look(NamedTuple):
    """What a look at frozen weights has seen, in nats per data point.

    Args:
        epoch: The epoch at the end of which it was.
        elbo: The ELBO over the training data.
        error: Its Monte-Carlo standard error; NaN where there is none.
        validation: The ELBO over held-out data; NaN where there are none.
        residuals: Those of the sites that have a direction, by name.
        errors: Their Monte-Carlo standard errors.
        num_draws: How many draws these are from.
        undecided: The sites of which the theorem says nothing, or that do not count.
    """

    epoch: int
    elbo: float
    error: float = np.nan
    validation: float = np.nan
    residuals: Mapping[str, float] = {}
    errors: Mapping[str, float] = {}
    num_draws: int = 1
    undecided: tuple[str, ...] = ()


class Stopped(NamedTuple):
    """How a training has ended.

    Args:
        rule: `"epochs"` where the number of epochs was reached, `"early stopping"`, `"theorem"`,
            or `"callback"`.
        epoch: The last epoch.
        reason: The same in words.
        undecided: The sites that the stop by the theorem has not looked at, as there is no
            direction for them.
        best_epoch: The epoch whose weights were put back; `None` where the last ones stay.
    """

    rule: str
    epoch: int
    reason: str
    undecided: tuple[str, ...] = ()
    best_epoch: int | None = None


@runtime_checkable
class Rule(Protocol):
    """What ends a training: a function of all looks so far, so that it goes on after a restart."""

    def decide(self, looks: Sequence[Look]) -> Stopped | None:
        """How the training has ended with the last look; `None` where it goes on."""


@dataclass(frozen=True)
class EarlyStopping:
    """Stops when the held-out ELBO has not grown for some looks.

    Args:
        patience: How many looks in a row may pass without a better one.
        min_delta: By how many nats per data point a look must be above the best one to be better.
        restore_best: Whether the weights of the best look are put back in the end, whatever has
            ended the training.

    Raises:
        ValueError: If `patience` is no positive integer, or `min_delta` is negative.

    Example:
        >>> rule = EarlyStopping(patience=2)
        >>> looks = [Look(i, 0.0, validation=v) for i, v in enumerate([-3.0, -2.0, -2.5, -2.2], 1)]
        >>> rule.decide(looks[:3]), rule.best(looks)
        (None, 1)
        >>> rule.decide(looks).reason
        'the held-out ELBO was best at epoch 2, -2, and has not grown for 2 looks'
    """

    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        """Checks the numbers."""
        check_positive_int(self.patience, "patience")
        check_non_negative(self.min_delta, "min_delta")

    def best(self, looks: Sequence[Look]) -> int | None:
        """The place of the best look; `None` where none has held-out data."""
        found: int | None = None
        for i, look in enumerate(looks):
            if np.isnan(look.validation):
                continue
            if found is None or look.validation > looks[found].validation + self.min_delta:
                found = i
        return found

    def decide(self, looks: Sequence[Look]) -> Stopped | None:
        """How the training has ended with the last look; `None` where it goes on."""
        best = self.best(looks)
        if best is None or len(looks) - 1 - best < self.patience:
            return None
        at = looks[best]
        reason = (
            f"the held-out ELBO was best at epoch {at.epoch}, {at.validation:.4g}, "
            f"and has not grown for {self.patience} looks"
        )
        return Stopped("early stopping", looks[-1].epoch, reason)


@dataclass(frozen=True)
class TheoremStop:
    """Stops at a stationary point: the ELBO has no slope left, and no residual is beyond zero.

    For `patience` looks in a row, at frozen weights over the training data,

        (a)  |b| <= t se(b)  and  |b| + t se(b) < tol
        (b)  |r_s| + t se(r_s) < tol  for each site s whose residual has a direction

    with the slope `b` of the ELBO over the last `window` looks by least squares, in nats per data
    point and epoch, and Student's `t` at 95 %. A residual is a single component of the gradient, so
    that (b) alone says little: hence (a). In its first half `se(b)` is the larger one of two: that
    from the scatter about the line, and that from the Monte-Carlo errors of the looks, with which
    looks that share their draws do not scatter. At a maximum of the ELBO both hold (Damm et al.
    2023, Theorem 2), as soon as `num_draws` and `window` are large enough for `tol`; a saddle point
    where training rests is none, and is not told from it.

    Args:
        tol: What counts as zero: in nats per data point and epoch for the slope, in nats per data
            point for a residual.
        patience: How many looks in a row.
        window: Over how many looks the slope is taken, from 3.
        num_draws: The number of draws of a look for each data point, from 2.

    Raises:
        ValueError: If a number is not positive, or too small.

    Example:
        >>> rule = TheoremStop(tol=0.01, patience=2, window=4)
        >>> looks = [
        ...     Look(i, -7 - r, 1e-3, residuals={"x": r}, errors={"x": 1e-4}, num_draws=10)
        ...     for i, r in enumerate(0.5 ** np.arange(1, 20), 1)
        ... ]
        >>> [n for n in range(len(looks)) if rule.decide(looks[:n])][0]
        12
    """

    tol: float = 0.05
    patience: int = 3
    window: int = 10
    num_draws: int = 20

    def __post_init__(self) -> None:
        """Checks the numbers."""
        check_number(self.tol, "tol")
        for name, least in {"patience": 1, "window": 3, "num_draws": 2}.items():
            value = getattr(self, name)
            check_positive_int(value, name)
            if value < least:
                raise ValueError(expected(f"at least {least}", name, value))

    def decide(self, looks: Sequence[Look]) -> Stopped | None:
        """How the training has ended with the last look; `None` where it goes on."""
        needed = self.window + self.patience - 1
        if len(looks) < needed:
            return None
        last, newest = looks[-needed:], looks[-1]
        names = sorted({name for look in last for name in look.residuals})
        # What has had no direction in a look is no part of it.
        residuals = [[look.residuals.get(name, 0.0) for name in names] for look in last]
        errors = [[look.errors.get(name, 0.0) for name in names] for look in last]
        held = self.stops(
            epochs=[look.epoch for look in last],
            elbo=[look.elbo for look in last],
            error=[look.error for look in last],
            residuals=np.array(residuals),
            errors=np.array(errors),
            num_draws=[look.num_draws for look in last],
        )
        if not held[-1]:
            return None
        reason = (
            f"for {self.patience} looks the slope of the ELBO was zero within its error and below "
            f"{self.tol:g} nats an epoch"
        )
        if newest.residuals:
            reason += f", and each residual below it: {', '.join(sorted(newest.residuals))}"
        return Stopped("theorem", newest.epoch, reason, newest.undecided)

    def waiting(self, looks: Sequence[Look]) -> str:
        """What the rule still waits for at the last look, in words."""
        if len(looks) < self.window + self.patience - 1:
            return f"{self.window + self.patience - 1} looks; there were {len(looks)}"
        last = looks[-self.window :]
        slope, scatter, _ = slope_of(
            [look.epoch for look in last],
            [look.elbo for look in last],
            [look.error for look in last],
        )
        error = stdtrit(self.window - 2, LEVEL) * scatter
        newest = looks[-1]
        factor = stdtrit(max(newest.num_draws - 1, 1e-9), LEVEL)
        bounds = {n: (r, factor * newest.errors[n]) for n, r in newest.residuals.items()}
        open_ = [
            f"the residual of {name}, {value:.2g} ± {bound:.2g}"
            for name, (value, bound) in bounds.items()
            if not abs(value) + bound < self.tol
        ]
        parts = [f"the slope, {slope:.2g} ± {error:.2g} nats an epoch", *open_]
        return f"all of them to be zero and below {self.tol:g}: {'; '.join(parts)}"

    def stops(
        self,
        epochs: ArrayLike,
        elbo: ArrayLike,
        error: ArrayLike,
        residuals: ArrayLike,
        errors: ArrayLike,
        num_draws: ArrayLike,
    ) -> NDArray[np.bool_]:
        """For each of `L` looks, at least as many as are needed, whether both hold there.

        Args:
            epochs: Where the looks are, `(L,)`.
            elbo: The ELBO, `(*runs, L)`.
            error: Its Monte-Carlo standard error, `(*runs, L)`.
            residuals: Those of `S` sites, `(*runs, L, S)`.
            errors: Their Monte-Carlo standard errors, `(*runs, L, S)`.
            num_draws: How many draws these are from, `(L,)`.
        """
        views = (
            sliding_window_view(a, self.window, -1) for a in map(_floats, (epochs, elbo, error))
        )
        slope, scatter, sampled = slope_of(*views)
        factor = stdtrit(self.window - 2, LEVEL)
        flat = np.abs(slope) <= factor * np.maximum(scatter, sampled)
        flat &= np.abs(slope) + factor * scatter < self.tol
        # From a single draw there is no error, and nothing is known.
        degrees = np.maximum(_floats(num_draws) - 1, 1e-9)
        bounds = np.abs(residuals) + stdtrit(degrees, LEVEL)[:, None] * _floats(errors)
        # A NaN is not below.
        zero = (bounds < self.tol).all(-1)
        both = flat & zero[..., self.window - 1 :]
        held = sliding_window_view(both, self.patience, -1).all(-1)
        early = np.zeros((*both.shape[:-1], self.window + self.patience - 2), bool)
        return np.concatenate([early, held], -1)


# A direction is there where this much of the natural parameters is left at most: in float32, which
# has the fewest digits of all types that are trained in, rounding leaves nearly as much.
SOLVED = 2e-3


def claims_of(
    claims: Iterable[Any], num_draws: int, closed: Collection[str] = ()
) -> dict[str, Any]:
    """What a stop by the theorem looks at, as arguments of `Look`.

    Args:
        claims: Those of `explain_residuals`.
        num_draws: The number of draws they are from.
        closed: Sites with a variance that was set in closed form: their residuals are zero by that.
    """
    residuals, errors, undecided = {}, {}, []
    for claim in claims:
        name = ", ".join(claim.sites)
        found = claim.verdict != "no claim" and claim.misfit <= SOLVED
        if found and not set(claim.sites) & set(closed):
            residuals[name], errors[name] = float(claim.residual), float(claim.mcse)
        else:
            undecided.append(name)
    return {
        "residuals": residuals,
        "errors": errors,
        "num_draws": num_draws,
        "undecided": tuple(undecided),
    }


def rules_of(given: Any, *, validation: bool) -> list[Rule]:
    """The rules that a user has asked for: one, several, or none.

    Raises:
        TypeError: If one is no rule.
        ValueError: If one needs held-out data, and there are none.
    """
    rules = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    for rule in rules:
        if not callable(getattr(rule, "decide", None)):
            what = "EarlyStopping, TheoremStop, or another rule with `decide`,"
            raise TypeError(expected(what, "stop", repr(rule)))
        if isinstance(rule, EarlyStopping) and not validation:
            raise ValueError(expected("data for EarlyStopping", "validation", None))
    return rules


def slope_of(epochs: ArrayLike, values: ArrayLike, errors: ArrayLike) -> tuple[Any, Any, Any]:
    """The slope of values over epochs by least squares, and its standard error by two ways.

    Args:
        epochs: Where the values are, at least three places, `(..., L)`.
        values: The values, `(..., L)`.
        errors: Their Monte-Carlo standard errors, `(..., L)`; NaN counts as none.

    Returns:
        The slope, its error from the scatter about the line, and that from the values' errors.

    Example:
        >>> slope, scatter, sampled = slope_of([0, 1, 2, 3], [0, 1, 2, 3], [0.1] * 4)
        >>> print(slope.round(6), scatter.round(4), sampled.round(4))
        1.0 0.0 0.0447
    """
    x, y, error = map(_floats, (epochs, values, errors))
    centred = x - x.mean(-1, keepdims=True)
    squares = (centred**2).sum(-1)
    slope = (centred * y).sum(-1) / squares
    rests = y - y.mean(-1, keepdims=True) - slope[..., None] * centred
    # No value is known better than to rounding, which in float32 a look's own sums have.
    rounding = np.finfo(np.float32).eps * np.abs(y).max(-1)
    variance = np.maximum((rests**2).sum(-1) / (x.shape[-1] - 2), rounding**2)
    sampled = np.sqrt(((centred * np.nan_to_num(error)) ** 2).sum(-1)) / squares
    return slope, np.sqrt(variance / squares), sampled


def _floats(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, float)


@dataclass
class Looks:
    """All looks of a training, and what its rules make of them.

    Args:
        rules: The rules, of which the first one to say so ends the training.
        seen: The looks.
    """

    rules: Sequence[Rule] = ()
    seen: list[Look] = field(default_factory=list)

    def add(self, look: Look) -> tuple[bool, Stopped | None]:
        """Adds a look: whether its weights are the best so far, and how the training has ended."""
        self.seen.append(look)
        best = self.keeps_best and self.best == len(self.seen) - 1
        ends = (rule.decide(self.seen) for rule in self.rules)
        return best, next((end for end in ends if end is not None), None)

    @property
    def keeps_best(self) -> bool:
        """Whether a rule puts the best weights back."""
        return any(getattr(rule, "restore_best", False) for rule in self.rules)

    @property
    def best(self) -> int | None:
        """The place of the look with the best weights, by the first rule that puts them back."""
        rules = [rule for rule in self.rules if getattr(rule, "restore_best", False)]
        return rules[0].best(self.seen) if rules else None  # type: ignore[attr-defined]
