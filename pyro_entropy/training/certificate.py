"""The certificate of a Pyro model: its residuals where the gradient of the ELBO vanishes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.reach import reachable
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sites import Pair
from entropy_core.training.optimum.certificate import (
    GRADIENT_TOLERANCE,
    MAX_EVALUATIONS,
    NOT_FROZEN,
    TOLERANCE,
    Certificate,
    Draw,
    Weights,
    added,
    certificate,
)
from entropy_core.training.optimum.stationary import Array, check_slope, repeats, stationary_point
from pyro_entropy.diagnostic.claims import explain_residuals
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import arguments_of
from pyro_entropy.traces.enumerated import Looks
from pyro_entropy.traces.modes import evaluating, keeping_random_state
from pyro_entropy.traces.pairs import check_reparameterised, reading_params
from pyro_entropy.traces.terms import all_terms, site_terms


def certify(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 1,
    num_fresh: int = 10,
    tolerance: float = TOLERANCE,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_evaluations: int = MAX_EVALUATIONS,
    data_plate: str | None = None,
) -> Certificate:
    """Goes to the stationary point of the ELBO at held draws, and looks at the residuals there.

    At a stationary point `F = H[q(z|x)] - H[p(z)] - H[p(x|z)]`, and each residual of which the
    theorem makes a claim is zero (Damm et al. 2023, Theorems 1 to 3). Training ends near one at
    best, and sees other draws at each step. Here the noise of the guide's draws is held, so that
    the ELBO of all data is a function of the parameters alone; L-BFGS and Newton's method find its
    stationary point in float64. What the residuals are at fresh draws is what held draws have
    hidden: a large net learns them by heart.

    Modules are in evaluation mode. Parameters, buffers, gradients, the generators and the default
    float type are afterwards what they were: `Certificate.params` has the parameters of the
    stationary point, by their names in Pyro's store, unconstrained.

    Args:
        model: The model.
        guide: The guide, with draws that are reparameterised or enumerated.
        batches: All the data: a tensor whose first dimension is that of the data points, or an
            iterable of batches: tensors, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both. They are held in memory, in float64.
        batch_size: How many data points to look at together, where `batches` is a tensor.
        num_particles: The number of held draws for each data point.
        num_fresh: The number of fresh draws for each data point.
        tolerance: What counts as zero at the held draws, in nats per data point.
        gradient_tolerance: The norm of the gradient at which the search ends.
        max_evaluations: After how many evaluations of the ELBO the search gives up.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Raises:
        ValueError: If there is no batch or no parameter, a number is not positive, a batch or the
            ELBO has NaN or infinite entries, a plate draws its own rows, or there are several
            particles and a site outside the data plate.
        NotImplementedError: If a site of the guide has neither reparameterised draws nor all its
            values, or if the ELBO is no smooth function of the parameters at held draws.

    Example:
        >>> from pyro_entropy import LinearVAE
        >>> vae = LinearVAE(4, 1, dtype=torch.float64)
        >>> x = torch.randn(200, 1, dtype=torch.float64) + 0.5 * torch.randn(200, 4).double()
        >>> certificate = certify(vae.model, vae.guide, x)
        >>> certificate.is_stationary
        True
        >>> certificate.sites["verdict"].to_dict()
        {'z': 'holds', 'x': 'holds'}
    """
    check_number(tolerance, "tolerance")
    check_number(gradient_tolerance, "gradient_tolerance")
    for name, value in (
        ("num_particles", num_particles),
        ("num_fresh", num_fresh),
        ("max_evaluations", max_evaluations),
    ):
        check_positive_int(value, name)
    seed = int(torch.randint(2**31 - 1, ()))
    with evaluating(model, guide), keeping_random_state(), torch.enable_grad():
        calls = list(arguments_of(batches, batch_size)) * num_particles
        frozen = _Frozen(model, guide, calls, seed, Weights(data_plate, num_particles))
        with frozen.in_float64():
            start = frozen.vector()
            if not (repeats(frozen, start) and check_slope(frozen, start)):
                raise NotImplementedError(expected(NOT_FROZEN, "model` and `guide", "others"))
            found = stationary_point(
                frozen,
                start,
                gradient_tolerance=gradient_tolerance,
                max_evaluations=max_evaluations,
            )
            frozen.set(found.point)
            held = map(tuple, frozen.calls)
            claims = explain_residuals(
                *frozen.pair,
                held,
                # All draws are the held ones: two show that nothing else moves.
                num_particles=2,
                max_particles=2,
                tolerance=tolerance,
                data_plate=data_plate,
            )
            num_held = num_fresh if frozen.sampled else 1
            return certificate(
                found,
                {name: p.detach().cpu().clone() for name, p in frozen.params.items()},
                claims,
                [frozen.draw(0) for _ in range(num_held)],
                [frozen.draw(i + 1) for i in range(num_fresh)],
                gradient_tolerance=gradient_tolerance,
                tolerance=tolerance,
                num_draws=num_particles,
            )


class _Frozen:
    """The negative ELBO of all batches at held draws, as a function of the parameters."""

    def __init__(
        self, model: Callable, guide: Callable, calls: list[Arguments], seed: int, weights: Weights
    ) -> None:
        if not calls:
            raise ValueError(expected("at least one batch", "batches", "none"))
        self.plain, self.weights = (model, guide), weights
        # The number of a batch is the first argument of both; it says which draws are held. What
        # stands second in a partial is what Pyro unwraps: a guide may be a messenger.
        self.pair = partial(_held, None, model), partial(_held, seed, guide)
        self.calls = [_numbered(i, call) for i, call in enumerate(calls)]
        self.params, self.sampled = dict[str, Tensor](), False
        self._looks, self._modules = Looks(*self.pair), dict[nn.Module, None]()

    @contextmanager
    def in_float64(self) -> Iterator[None]:
        """Model, guide and data in float64, for as long as this lasts."""
        self._look_once()
        modules = [m for fn in self.plain for m in reachable(fn, nn.Module)]
        modules += list(self._modules)
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        held = {id(t): (t, t.data, t.grad) for t in [*tensors, *self.params.values()]}
        dtype = torch.get_default_dtype()
        try:
            torch.set_default_dtype(torch.float64)
            for tensor, data, _ in held.values():
                tensor.grad = None
                wanted = torch.float64 if data.is_floating_point() else data.dtype
                tensor.data = data.to(wanted, copy=True)
            self.calls = [_double(call) for call in self.calls]
            yield
        finally:
            torch.set_default_dtype(dtype)
            for tensor, data, grad in held.values():
                tensor.data = data
                tensor.grad = grad

    def _look_once(self) -> None:
        """Finds out which parameters and nets there are, and what each batch counts."""

        def watch(module: nn.Module, args: Any) -> None:
            self._modules[module] = None

        hook = register_module_forward_pre_hook(watch)
        try:
            for call in self.calls:
                with reading_params() as read:
                    pair = self._run(call)
                check_reparameterised(pair.guide)
                if pair.drawing_rows:
                    got = f"{sorted(pair.drawing_rows)}, which draw theirs"
                    raise ValueError(expected("plates of all rows", "model", got))
                records = all_terms(pair).records
                self.weights.add(records)
                self.sampled |= any(r.entropy_method == "sampled" for r in records)
                trained = {n: p for n, p in read.items() if p.requires_grad}
                self.params |= {n: p for n, p in trained.items() if p.is_floating_point()}
        finally:
            hook.remove()
        if not self.params:
            what = "parameters that can be trained"
            raise ValueError(expected(what, "model` and `guide", "none"))

    def _run(self, call: Arguments) -> Pair:
        self._looks.start(*call)
        return self._looks.look()

    def __call__(self, point: Array) -> tuple[float, Array]:
        """The value and the gradient, in nats per data point."""
        # A search may come to where a scale is zero or infinite, and turns back from there.
        with pyro.validation_enabled(False):
            return self._value_and_gradient(point)

    def _value_and_gradient(self, point: Array) -> tuple[float, Array]:
        self.set(point)
        value, gradient = 0.0, np.zeros_like(point)
        params = list(self.params.values())
        for number, call in enumerate(self.calls):
            loss = -self.weights.elbo(_loss_records(self._run(call)), self.weights.shares(number))
            value += torch.as_tensor(loss).item()
            if isinstance(loss, Tensor) and loss.requires_grad:
                found = zip(
                    params, torch.autograd.grad(loss, params, allow_unused=True), strict=True
                )
                gradient += _flat(torch.zeros_like(p) if g is None else g for p, g in found)
        return value, gradient

    @torch.no_grad()
    def draw(self, number: int) -> Draw:
        """ELBO and residuals at the held draws, number 0, or at others."""
        found = []
        for i, call in enumerate(self.calls):
            first, *rest = call.args
            moved = Arguments((first + number * len(self.calls), *rest), call.kwargs)
            records, shares = all_terms(self._run(moved)).records, self.weights.shares(i)
            elbo = self.weights.elbo(records, shares)
            found.append(Draw(elbo, self.weights.residuals(records, shares)))
        return added(found)

    def vector(self) -> Array:
        """The parameters as one vector."""
        return _flat(self.params.values())

    @torch.no_grad()
    def set(self, point: Array) -> None:
        """Writes a vector into the parameters."""
        sizes = [p.numel() for p in self.params.values()]
        parts = np.split(point, np.cumsum(sizes)[:-1])
        for p, part in zip(self.params.values(), parts, strict=True):
            p.copy_(torch.from_numpy(part.copy()).reshape(p.shape))


def _loss_records(pair: Pair) -> Sequence[SiteTerms]:
    sites = [*pair.guide.values(), *pair.model.values()]
    if any(site.is_auxiliary or site.enumerate_dim is not None for site in sites):
        return all_terms(pair).records
    # The ELBO has no entropies of the model, which may have to be sampled.
    return site_terms(pair, entropies=False).records


def _flat(tensors: Iterable[Tensor]) -> Array:
    return np.concatenate([to_numpy(t.detach()).ravel() for t in tensors])


def _held(seed: int | None, fn: Callable, number: int, *args: Any, **kwargs: Any) -> Any:
    """Calls a guide whose draws depend on `seed` and `number` alone; a model has no seed."""
    if seed is None:
        return fn(*args, **kwargs)
    with keeping_random_state(), _Seeded(seed, number):
        return fn(*args, **kwargs)


class _Seeded(Messenger):
    """Draws each site from a state of the generator of its own, whatever other sites draw."""

    def __init__(self, seed: int, number: int) -> None:
        super().__init__()
        self.seed = f"{seed} {number}"

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"]:
            return
        seed = crc32(f"{self.seed} {msg['name']}".encode())
        # torch's function for all generators keeps a record of each call for devices not in use.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)


def _numbered(number: int, call: Arguments) -> Arguments:
    return Arguments((number, *call.args), call.kwargs)


def _double(value: Any) -> Any:
    """Arguments with all floats in float64."""
    if isinstance(value, Arguments):
        return Arguments(_double(value.args), _double(value.kwargs))
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {name: _double(entry) for name, entry in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_double(entry) for entry in value)
    return value
