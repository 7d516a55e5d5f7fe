"""Enumerated sites: runs of a Pyro pair with all their values, and what each weighs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pyro import poutine
from pyro.poutine.enum_messenger import EnumMessenger

from entropy_core.traces.enumeration import Enumeration, Part, enumeration_of
from entropy_core.traces.sites import Pair
from pyro_entropy.operations import OPERATIONS
from pyro_entropy.traces.modes import keeping_random_state
from pyro_entropy.traces.pairs import NO_LIMIT, run_pair, trace_pair
from pyro_entropy.traces.sites import Site

SEVERAL_DRAWS = "several draws at once, which are no enumeration"


def enumerating(
    model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any] | None = None
) -> tuple[Callable, Callable, int | float]:
    """Makes a model and guide draw as `TraceEnum_ELBO` does, where they ask for it.

    They ask with `infer={"enumerate": "parallel"}`, which `config_enumerate` sets. The draws to
    come stay as they are.

    Args:
        model: The model.
        guide: The guide.
        args: The arguments of both.
        kwargs: Their keyword arguments.

    Returns:
        The model and guide, and how many dimensions plates may take; the very same and infinity
        where nothing asks for enumeration.
    """
    pair = _aside(model, guide, args, kwargs)
    if not any(site.wants_enumeration for site in _all_sites(pair)):
        return model, guide, NO_LIMIT
    nesting = _nesting(pair)
    # The model keeps clear of the dimensions that the guide has taken.
    return EnumMessenger()(model), EnumMessenger(-1 - nesting)(guide), nesting


def summing_out(
    model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any] | None = None
) -> tuple[Callable, int | float]:
    """A model with all values of the sites that ask for them and that the guide does not draw.

    The arguments are those of `enumerating`.

    Returns:
        The model, and how many dimensions plates may take; the very same and infinity where there
        is no such site.
    """
    pair = _aside(model, guide, args, kwargs)
    if not any(s.wants_enumeration for n, s in pair.model.items() if n not in pair.guide):
        return model, NO_LIMIT
    nesting = _nesting(pair)
    return EnumMessenger(-1 - nesting)(model), nesting


class Looks:
    """Runs a pair batch by batch, with all values of the sites that ask for them.

    Which sites do may differ between batches.

    Args:
        model: The model.
        guide: The guide.
    """

    def __init__(self, model: Callable, guide: Callable) -> None:
        self.pair = model, guide
        self._drawn: tuple[Callable, Callable, int | float] | None = None
        self._forms: set[tuple] = set()

    def start(self, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Turns to a batch."""
        self._args, self._kwargs = args, kwargs
        form = _form_of(args, kwargs)
        # Where nothing has asked so far, batches of the same form will hardly ask; if one does, the
        # first look at it tells.
        if form not in self._forms or self._drawn is None or self._drawn[2] != NO_LIMIT:
            self._drawn = enumerating(*self.pair, args, kwargs)
        self._forms.add(form)

    @property
    def enumerated(self) -> tuple[Callable, Callable]:
        """The model and guide, as they draw for this batch."""
        assert self._drawn is not None
        return self._drawn[:2]

    def look(self) -> Pair:
        """Runs both."""
        assert self._drawn is not None
        model, guide, nesting = self._drawn
        pair = trace_pair(model, guide, self._args, self._kwargs, max_plate_nesting=nesting)
        if nesting == NO_LIMIT and any(site.wants_enumeration for site in _all_sites(pair)):
            self._drawn = enumerating(*self.pair, self._args, self._kwargs)
            return self.look()
        return pair


def read_enumeration(
    model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]
) -> Enumeration:
    """The weights of the enumerated sites of a pair.

    Args:
        model_sites: The sample sites of the model.
        guide_sites: Those of the guide.
    """
    sites = [*guide_sites.values(), *model_sites.values()]
    if all(site.enumerate_dim is None for site in sites):
        # Without the handler that draws several there is one draw, whatever a site asks for.
        return Enumeration(OPERATIONS)
    drawn = [s.name for s in sites if s.num_samples is not None and s.enumerate_dim is not None]
    untreated = dict.fromkeys(drawn, SEVERAL_DRAWS)
    guide, model = (
        {name: _part(site) for name, site in sites.items()} for sites in (guide_sites, model_sites)
    )
    found = enumeration_of(guide, model, OPERATIONS)
    return replace(found, untreated=untreated | dict(found.untreated))


def _part(site: Site) -> Part:
    dim = site.enumerate_dim
    # In the sum over values the host applies no mask to the enumerated site itself.
    log_prob = (site if dim is None else site.unmasked()).log_prob
    plates = frozenset(plate.dim for plate in site.plates if plate.dim is not None)
    return Part(log_prob, site.places, plates, None if dim is None else site.places[dim])


def _form_of(args: tuple, kwargs: Mapping[str, Any]) -> tuple:
    named = [*enumerate(args), *kwargs.items()]
    return tuple((name, type(value), getattr(value, "ndim", None)) for name, value in named)


def _aside(model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any] | None) -> Pair:
    # Nothing of it is seen outside, and the draws to come stay as they are.
    with poutine.block(), keeping_random_state():
        return run_pair(model, guide, args, kwargs)


def _nesting(pair: Pair) -> int:
    return -min((p.dim or 0 for site in _all_sites(pair) for p in site.plates), default=0)


def _all_sites(pair: Pair) -> list[Site]:
    return [*pair.model.values(), *pair.guide.values()]
