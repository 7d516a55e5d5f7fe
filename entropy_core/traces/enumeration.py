"""Exact weights of the values of enumerated sites, by summing out one site after the other.

A site that the guide enumerates has the weights `q(c)`; one that only the model enumerates has the
responsibilities `r = p(c | x, z)`, for which its part of the ELBO is the log of the sum over its
values that `TraceEnum_ELBO` computes: `log sum_c p(c, x|z) = sum_c r_c (log p(c, x|z) - log r_c)`.

What depends on enumerated sites is a sum of factors `f`. Summing out a site `c` leaves a factor of
its neighbours, and gives its weights for each of their values:

    f'(rest) = log sum_c exp f(c, rest),      log r(c | rest) = f(c, rest) - f'(rest)

Products of these conditionals are the weights of neighbours together (Koller & Friedman 2009, Ch. 9
and 10). The arrays are those of either backend, and gradients pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from entropy_core.operations import Operations

# A dimension is that of an enumerated site, by its name, or that of a plate, by its place.
Dim = str | int

NOT_IN_TURN = "enumerated sites that cannot be summed over in turn: left out of all sums"


class Factor(NamedTuple):
    """Log-probabilities whose dimensions have names."""

    dims: tuple[Dim, ...]
    values: Any


class Weights(NamedTuple):
    """The logarithms of a site's weights given its neighbours, and together with them."""

    given: Factor
    joint: Factor


class SumError(Exception):
    """No sum over one site after the other takes these apart."""


class Part(NamedTuple):
    """What is read off a site.

    Args:
        log_prob: Its log-probabilities.
        places: The places of its dimensions that are those of enumerated sites, and their names.
        plates: The places of the plates around it.
        own: The name of its own dimension, where it is enumerated.
    """

    log_prob: Any
    places: Mapping[int, str]
    plates: AbstractSet[int]
    own: str | None


@dataclass(frozen=True)
class Enumeration:
    """The weights of the enumerated sites of a pair of traces.

    Args:
        weights: The weights of each enumerated site, by the name of its dimension.
        marginalised: The sites that only the model enumerates, and their dimensions.
        untreated: Why a site has no weights.
        ops: The operations of the arrays.
    """

    ops: Operations
    weights: Mapping[str, Weights] = field(default_factory=dict)
    marginalised: Mapping[str, str] = field(default_factory=dict)
    untreated: Mapping[str, str] = field(default_factory=dict)

    def is_marginal(self, values: Any, places: Mapping[int, str]) -> bool:
        """Whether the weights of values are responsibilities, which depend on all draws."""
        return not set(self.marginalised.values()).isdisjoint(_held(values, places).values())

    def mean(self, values: Any, places: Mapping[int, str]) -> Any:
        """Averages over the values of enumerated sites, whose dimensions are left with size 1.

        Args:
            values: A value for each element of a site, of any batch shape.
            places: See `Part`.
        """
        places = _held(values, places)
        if not places:
            return values
        log_weights = _marginal(set(places.values()), self.weights, self.ops)
        return self._expectation(values, log_weights, places)

    def entropy(self, name: str) -> Any:
        """The entropy of a marginalised site given its neighbours: they add up to that of all.

        Shape: the plates of the site, in their places.
        """
        given, joint = self.weights[self.marginalised[name]]
        names = [dim for dim in joint.dims if isinstance(dim, str)]
        depth = -min((dim for dim in joint.dims if isinstance(dim, int)), default=0)
        dims = [*names, *range(-depth, 0)]
        places = {
            place - depth: name for place, name in zip(range(-len(names), 0), names, strict=True)
        }
        return self._expectation(-_aligned(given, dims, self.ops), joint, places)

    def _expectation(self, values: Any, log_weights: Factor, places: Mapping[int, str]) -> Any:
        plates = [dim for dim in log_weights.dims if isinstance(dim, int)]
        depth = max(values.ndim, -min([*plates, *places]))
        dims = [places.get(place, place) for place in range(-depth, 0)]
        weights = self.ops.exp(_aligned(log_weights, dims, self.ops))
        # What cannot happen has a log-probability of minus infinity, and adds nothing.
        products = weights * self.ops.where(weights > 0, values, 0.0)
        for place in places:
            products = products.sum(place, keepdims=True)
        return products


def enumeration_of(
    guide: Mapping[str, Part], model: Mapping[str, Part], ops: Operations
) -> Enumeration:
    """The weights of all enumerated sites: `q` of the guide's, the exact posterior of others.

    Args:
        guide: The sites of the guide.
        model: Those of the model. A plate's scale is none of their business: it stays outside of
            the sum over values, as in the hosts.
        ops: The operations of the arrays.
    """
    drawn = {part.own: part for part in guide.values() if part.own}
    marginalised = {
        name: part.own for name, part in model.items() if part.own and part.own not in drawn
    }
    everything = [*guide.items(), *model.items()]
    dims = [(name, set(_named(part).values())) for name, part in everything]
    weights: dict[str, Weights] = {}
    untreated: dict[str, str] = {}
    for group in _components([found for _, found in dims]):
        try:
            found = _weigh(drawn.values(), group & drawn.keys(), {}, ops)
            found = _weigh(model.values(), group - drawn.keys(), found, ops)
            for _, held in dims:
                if held and held <= group:
                    _marginal(held, found, ops)
            weights |= found
        except SumError:
            untreated |= {name: NOT_IN_TURN for name, held in dims if held & group}
    kept = {name: dim for name, dim in marginalised.items() if name not in untreated}
    return Enumeration(ops, weights, kept, untreated)


def _weigh(
    parts: Iterable[Part],
    names: AbstractSet[str],
    known: Mapping[str, Weights],
    ops: Operations,
) -> dict[str, Weights]:
    """The weights of enumerated sites and, before them, those `known` that they depend on."""
    plates: dict[str, AbstractSet[int]] = {n: _plates(w.joint) for n, w in known.items()}
    plates |= {part.own: part.plates for part in parts if part.own and part.own in names}
    remaining = [f for f in map(_factor, parts) if names & set(f.dims)]
    given: dict[str, Factor] = {}
    # From the last site to the first, and within more plates before fewer.
    for name in sorted((n for n in reversed(plates) if n in names), key=lambda n: -len(plates[n])):
        involved = [_inside(f, name, plates) for f in remaining if name in f.dims]
        remaining = [f for f in remaining if name not in f.dims]
        joint = _sum(involved, ops)
        at = joint.dims.index(name)
        total = Factor(joint.dims[:at] + joint.dims[at + 1 :], ops.logsumexp(joint.values, at))
        remaining.append(total)
        # Where nothing can happen there is nothing to divide by.
        finite = ops.where(total.values > -float("inf"), -total.values, 0.0)
        given[name] = _sum([joint, Factor(total.dims, finite)], ops)
    weights = dict(known)
    for name in reversed(given):
        joint = given[name]
        neighbours = {dim for dim in joint.dims if isinstance(dim, str)} - {name}
        if neighbours:
            joint = _sum([joint, _marginal(neighbours, weights, ops)], ops)
        weights[name] = Weights(given[name], joint)
    return weights


def _factor(part: Part) -> Factor:
    values, named = part.log_prob, _named(part)
    kept = [p for p in range(-values.ndim, 0) if p in named or values.shape[p] > 1]
    dims = tuple(named.get(place, place) for place in kept)
    return Factor(dims, values.reshape([values.shape[place] for place in kept]))


def _named(part: Part) -> dict[int, str]:
    # A site has its own dimension even where it has but one value.
    own = {place: name for place, name in part.places.items() if name == part.own}
    return _held(part.log_prob, part.places) | own


def _held(values: Any, places: Mapping[int, str]) -> dict[int, str]:
    return {p: n for p, n in places.items() if values.ndim >= -p and values.shape[p] > 1}


def _plates(part: Factor) -> set[int]:
    return {dim for dim in part.dims if isinstance(dim, int)}


def _components(dims_of_sites: Sequence[AbstractSet[str]]) -> list[set[str]]:
    """The enumerated sites that depend on each other, directly or through others."""
    groups: list[set[str]] = []
    for dims in filter(None, dims_of_sites):
        joined = [group for group in groups if not group.isdisjoint(dims)]
        groups = [group for group in groups if group not in joined] + [set(dims).union(*joined)]
    return groups


def _inside(part: Factor, name: str, plates: Mapping[str, AbstractSet[int]]) -> Factor:
    """The product over the plates that are not around a site, in logarithms."""
    extra = _plates(part) - plates[name]
    if any(extra & plates[dim] for dim in part.dims if isinstance(dim, str)):
        raise SumError
    values = part.values
    for dim in extra:
        values = values.sum(part.dims.index(dim), keepdims=True)
    kept = [
        (dim, size) for dim, size in zip(part.dims, values.shape, strict=True) if dim not in extra
    ]
    return Factor(tuple(dim for dim, _ in kept), values.reshape([size for _, size in kept]))


def _marginal(names: AbstractSet[str], weights: Mapping[str, Weights], ops: Operations) -> Factor:
    """The weights of some sites together."""
    joints = [w.joint for w in weights.values() if names <= set(w.joint.dims)]
    if not joints:
        raise SumError
    dims, values = min(joints, key=lambda joint: len(joint.dims))
    for dim in [d for d in dims if isinstance(d, str) and d not in names]:
        values = ops.logsumexp(values, dims.index(dim))
        dims = tuple(d for d in dims if d != dim)
    return Factor(dims, values)


def _sum(factors: Sequence[Factor], ops: Operations) -> Factor:
    dims = tuple(dict.fromkeys(dim for f in factors for dim in f.dims))
    return Factor(dims, sum(_aligned(f, dims, ops) for f in factors))


def _aligned(part: Factor, dims: Sequence[Dim], ops: Operations) -> Any:
    """The values with the given dimensions, those that they lack of size 1."""
    order = tuple(part.dims.index(dim) for dim in dims if dim in part.dims)
    values = ops.permute(part.values, order)
    sizes = iter(values.shape)
    return values.reshape([next(sizes) if dim in part.dims else 1 for dim in dims])
