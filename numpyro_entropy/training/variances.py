"""Variances of a NumPyro model in closed form, from one pass over the training set."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jax.example_libraries.optimizers import OptimizerState
from jaxtyping import Array
from numpyro.distributions import Normal
from numpyro.infer import SVI

from entropy_core.arguments import Arguments
from entropy_core.checks import check_positive_int, expected
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import Plate, SiteTerms
from entropy_core.traces.sites import Pair
from entropy_core.training.optimum.variances import (
    NAME,
    ClosedForm,
    Response,
    VarianceSums,
    in_plate,
    sites_of,
    weight_of,
)
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.entropies.wrappers import unwrapped
from numpyro_entropy.layouts import fetched
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments, compiled
from numpyro_entropy.traces.enumerated import trace_enumerated
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.sites import Site
from numpyro_entropy.traces.terms import all_terms

# What a pass needs to know of a batch, besides numbers: plates and the sites of each parameter.
Known = tuple[Plate | None, dict[str, tuple[str, ...]]]


def closed_form_variances(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 1,
    data_plate: str | None = None,
) -> ClosedForm:
    """The learned variances of a model at their optimum for all data, at the other weights.

    `alpha_h^2 = mean_n (m_h^2 + tau_h^2)` for a prior, and `sigma^2 = mean_n E_q(x_n - mu)^2` for a
    decoder (Damm et al. 2023, Eq. 76; Fyffe 2020, Eq. 4), from one pass in evaluation mode:
    observed elements alone, and those of all sites that share a variance together. Right after, the
    residual of such a site is zero at the draws of this pass. It is a step of coordinate ascent on
    the ELBO, and no cure: training may reach its end later with it than without.

    It finds what the library's parts call `log_variance`, the scale `exp(log_variance / 2)` of
    normal sites in the plate over data points and of nothing else: those of `NormalDecoder`,
    `DiagonalNormalDecoder` and `NormalPrior`. `params` stay as they are: go on with
    `{**params, **found.params}`, or in a loop with the state that `clear_state` makes.

    Args:
        rng_key: The key for the draws, which are those of `EntropySumDiagnostic.run` with it.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide.
        batches: The training set, as `EntropySumDiagnostic.run` takes it.
        batch_size: How many data points to look at together, where `batches` is an array.
        num_particles: The number of draws from the guide for each data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The new values of these parameters, and their sites.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, `params` are not
            complete, there is no such variance, or one is not positive and finite.
        NotImplementedError: If a site is enumerated.

    Example:
        >>> from numpyro_entropy import VAE2
        >>> vae, key = VAE2(4, 2), random.key(0)
        >>> params, x = vae.init(key), random.uniform(key, (100, 4))
        >>> sorted(closed_form_variances(key, params, vae.model, vae.guide, x).sites.values())
        [('x',), ('z',)]
    """
    variances = ClosedFormVariances(
        model, guide, num_particles=num_particles, data_plate=data_plate
    )
    return variances.run(rng_key, params, batches, batch_size=batch_size)


def clear_state(svi: SVI, svi_state: Any, found: ClosedForm) -> Any:
    """The state of `svi` with parameters that were set, of which its optimiser knows nothing yet.

    What it has learned of other parameters stays, and so do its counts of steps.

    Args:
        svi: The `numpyro.infer.SVI`, with an optimiser of numpyro.optim or optax.
        svi_state: Its state.
        found: What `closed_form_variances` has found.

    Raises:
        ValueError: If the optimiser keeps no state of each parameter for itself.
    """
    optim = svi.optim
    params = optim.get_params(svi_state.optim_state)
    # Variances have no constraints, so that what the optimiser holds are the values themselves.
    fresh = optim.init({**params, **found.params})
    count, old = svi_state.optim_state
    owners = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]

    def chosen(path: tuple, left: Any, right: Any) -> Any:
        names = {_name((entry,)) for entry in path}
        # What learns of all parameters in one array cannot forget one of them.
        if (
            not names & params.keys()
            and jnp.ndim(left)
            and jnp.issubdtype(left.dtype, jnp.floating)
        ):
            what = "an optimiser with a state for each parameter"
            raise ValueError(expected(what, "svi", "one with a state of all together"))
        return right if found.params.keys() & names else left

    if isinstance(old, OptimizerState):
        packed = [
            right if owner in found.params else left
            for owner, left, right in zip(
                owners, old.packed_state, fresh[1].packed_state, strict=True
            )
        ]
        state = old._replace(packed_state=type(old.packed_state)(packed))
    else:
        state = jax.tree_util.tree_map_with_path(chosen, old, fresh[1])
    return svi_state._replace(optim_state=(count, state))


def check_not_enumerated(pair: Pair) -> None:
    """Refuses a pair with enumerated sites, over whose values moments would be weighted means.

    Raises:
        NotImplementedError: If a site is enumerated.
    """
    for name, site in {**pair.guide, **pair.model}.items():
        if site.enumerate_dim is not None:
            got = f"site '{name}', enumerated"
            raise NotImplementedError(expected("no enumerated sites", "model` and `guide", got))


class ClosedFormVariances:
    """Variances in closed form again and again, as once an epoch.

    It compiles once.

    Args:
        model: The model.
        guide: The guide.
        num_particles: The number of draws from the guide for each data point.
        data_plate: The name of the plate over data points; see `closed_form_variances`.

    Raises:
        ValueError: If `num_particles` is no positive integer.
    """

    def __init__(
        self,
        model: Callable,
        guide: Callable,
        *,
        num_particles: int = 1,
        data_plate: str | None = None,
    ) -> None:
        check_positive_int(num_particles, "num_particles")
        self.model, self.guide = model, guide
        self.num_particles, self.data_plate = num_particles, data_plate
        self._known: dict[Any, Known] = {}
        self._read = compiled(self._sums)

    def run(
        self,
        rng_key: Array,
        params: Params,
        batches: Array | np.ndarray | Iterable,
        *,
        batch_size: int = 1000,
    ) -> ClosedForm:
        """Passes once over the data; see `closed_form_variances`."""
        sums, sites = VarianceSums(), dict[str, set[str]]()
        with evaluating(self.model, self.guide):
            calls = checked_arguments(params, self.model, self.guide, batches, batch_size)
            for i, call in enumerate(calls):
                keys = random.split(random.fold_in(rng_key, i), self.num_particles)
                form = _form_of(call)
                if form not in self._known:
                    self._known[form] = self._match(keys[0], params, call)
                plate, found = self._known[form]
                sums.check(plate)
                for name, names in found.items():
                    sites.setdefault(name, set()).update(names)
                for key in keys if found else ():
                    read = fetched(self._read(key, params, call))
                    for name, site_sums in read.items():
                        sums.add(name, *site_sums)
        before = {name: params[name] for name in sites}
        new = sums.log_variances(before)
        return ClosedForm(
            {name: jnp.asarray(new[name], jnp.result_type(before[name])) for name in sites},
            {name: tuple(sorted(found)) for name, found in sites.items()},
        )

    def _run(self, rng_key: Array, params: Params, call: Arguments) -> Pair:
        pair = trace_enumerated(rng_key, params, self.model, self.guide, *call)
        check_not_enumerated(pair)
        return all_terms(pair, rng_key=rng_key)

    def _match(self, rng_key: Array, params: Params, call: Arguments) -> Known:
        """The plate over data points, and the sites whose variance each parameter is."""
        held: dict[str, Any] = {}
        candidates = {n: jnp.asarray(p) for n, p in params.items() if n.endswith(NAME)}

        def read(logs: Params) -> dict[str, tuple[Array, Array]]:
            pair = self._run(rng_key, {**params, **logs}, call)
            held["plate"] = find_data_plate(pair.records, self.data_plate)
            held["names"] = list(in_plate(pair.records, held["plate"]))
            named = {**pair.model, **{f"{n} (guide)": s for n, s in pair.guide.items()}}
            held["normal"] = [n for n, s in named.items() if belongs_to(unwrapped(s.fn), Normal)]
            return {name: _parameters_of(site) for name, site in named.items()}

        derivative = compiled(lambda logs, changes: jax.jvp(read, (logs,), (changes,)))
        rng, found = np.random.default_rng(0), {}
        still = {name: jnp.zeros_like(p) for name, p in candidates.items()}
        for name, param in candidates.items():
            # Each entry another change, so that none stands for another one.
            change = jnp.asarray(rng.uniform(1, 2, param.shape), param.dtype)
            values, changes = derivative(candidates, {**still, name: change})
            responses = {
                site: _response(values[site], changes[site], change, site in held["normal"])
                for site in values
            }
            eps = float(jnp.finfo(param.dtype).eps)
            matched = sites_of(responses, param, eps, model=held["names"])
            if matched:
                found[name] = matched
        if not candidates:
            jax.eval_shape(read, candidates)
        return held["plate"], found

    def _sums(self, rng_key: Array, params: Params, call: Arguments) -> dict[str, Any]:
        plate, found = self._known[_form_of(call)]
        pair = self._run(rng_key, params, call)
        records, sums = in_plate(pair.records, plate), {}
        for name, names in found.items():
            parts = [
                _squares(pair, records[site], plate, jnp.shape(params[name])) for site in names
            ]
            sums[name] = sum(p[0] for p in parts), sum(p[1] for p in parts)
        return sums


def _form_of(call: Arguments) -> Any:
    leaves, structure = jax.tree.flatten(call)
    return structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


def _parameters_of(site: Site) -> tuple[Array, Array]:
    """The scale and the location of a normal site, of the shape of the site."""
    fn: Any = unwrapped(site.fn)
    if not belongs_to(fn, Normal):
        return jnp.zeros(()), jnp.asarray(site.log_prob)
    shape = (*site.fn.batch_shape, *site.fn.event_shape)
    return jnp.broadcast_to(fn.scale, shape), jnp.asarray(fn.loc)


def _response(
    values: tuple[Array, Array], changes: tuple[Array, Array], change: Array, normal: bool
) -> Response:
    scale, moved = np.asarray(values[0], float), np.asarray(changes[0], float)
    others = float(np.abs(changes[1]).max(initial=0.0))
    if not normal:
        return Response(None, np.zeros(()), others)
    if scale.shape[scale.ndim - change.ndim :] == change.shape:
        moved = moved / np.asarray(change, float)
    elif moved.any():
        moved = np.full_like(moved, np.inf)
    return Response(scale, moved, others)


def _squares(
    pair: Pair, record: SiteTerms, plate: Plate | None, param_shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """The squares of a site's observed elements, and what these count."""
    site = pair.model[record.name]
    fn = unwrapped(site.fn)
    # A value may be wider than its distribution.
    own = (*site.fn.batch_shape, *site.fn.event_shape)
    shape = jnp.broadcast_shapes(own, jnp.shape(site.value))
    if record.role == "prior" and record.term_method == "closed form":
        q: Any = unwrapped(pair.guide[record.name].fn)
        squares = (q.mean - fn.mean) ** 2 + q.variance
    else:
        squares = (site.value - fn.mean) ** 2
    weights = jnp.asarray(weight_of(record, plate), squares.dtype)
    weights = weights.reshape(*weights.shape, *[1] * len(site.fn.event_shape))
    weights = jnp.broadcast_to(weights, shape)
    shown = site.shown(tuple(site.fn.batch_shape))
    if shown is not None:
        shown = shown.reshape(*shown.shape, *[1] * (len(shape) - shown.ndim))
        weights = jnp.where(shown, weights, 0.0)
        # What is hidden may be NaN.
        squares = jnp.where(shown, squares, 0.0)
    squares = jnp.broadcast_to(squares, shape)
    by_entry = (-1, *param_shape)
    return (weights * squares).reshape(by_entry).sum(0), weights.reshape(by_entry).sum(0)


def _name(path: tuple) -> Any:
    return getattr(path[0], "key", None) if path else None
