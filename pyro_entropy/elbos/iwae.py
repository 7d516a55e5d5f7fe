"""The importance weighted bound, with its three gradient estimators."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from warnings import warn

import torch
from pyro.util import warn_if_nan
from torch import Tensor

from entropy_core.elbos.iwae import Gradient, IWAETerms, check_particles
from entropy_core.traces.importance import LogWeights, log_weights
from entropy_core.traces.sites import Pair
from pyro_entropy.elbos.base import Capturable
from pyro_entropy.elbos.particles import (
    HeldDraw,
    can_be_vectorised,
    held_draws,
    in_particles,
    path_gradient,
)
from pyro_entropy.traces.pairs import Values, check_reparameterised, trace_guide, trace_pair
from pyro_entropy.traces.terms import site_terms


class IWAE_ELBO(Capturable):
    """The importance weighted bound `L_K = sum_n E[log 1/K sum_k p(x_n, z_nk) / q(z_nk|x_n)]`.

    Burda et al. 2016, Eq. 8; Yu 2020, Sec. 3.2. The average over the `K` particles is one for each
    data point. Plates' subsampling and a `scale` handler that all sites share multiply the result
    and do not enter the exponent, and all particles see the same subsample. `L_1` is
    `pyro.infer.Trace_ELBO`; `L_K` does not fall with `K`, and its bias is about
    `-Var(w) / (2 K p(x_n)^2)`.

    The gradient of the guide's parameters has three estimators: `"plain"`; `"dreg"` (Tucker et al.
    2019, Eq. 8), of less variance and unbiased for every `K`; and `"stl"`, sticking the landing
    (Roeder et al. 2017), which is the same at `K = 1` and biased beyond. The model's parameters
    always have the plain one.

    Args:
        num_particles: The number of draws for each data point, `K`.
        gradient: The estimator of the guide's gradient.
        chunk_size: The number of particles to draw at once; the default is all of them.
            `loss_and_grads` then holds one chunk's graph at a time, and draws each chunk twice.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: Those of `pyro.infer.ELBO`; particles are vectorised unless
            `vectorize_particles=False` asks for one by one. A pair that was not written for it is
            found out at the first call, and its particles are then drawn one by one, with a
            warning.

    Raises:
        ValueError: If a number is no positive integer, or `gradient` is not known.

    Example:
        >>> import pyro
        >>> import pyro
        >>> from pyro_entropy import IWAE_ELBO, VAE1
        >>> vae, x = VAE1(4, 2), torch.rand(8, 4)
        >>> optim = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, IWAE_ELBO(10, gradient="dreg"))
        >>> loss = svi.step(x)
        >>> terms = IWAE_ELBO(10).terms(vae.model, vae.guide, x)
        >>> bool(terms.bound >= terms.elbo)
        True
    """

    def __init__(
        self,
        num_particles: int = 1,
        *args: Any,
        gradient: Gradient = "plain",
        chunk_size: int | None = None,
        data_plate: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.chunk_size = check_particles(num_particles, chunk_size, gradient)
        if not kwargs.get("vectorize_particles", True):
            self.chunk_size = 1
        self.gradient = gradient
        self.data_plate = data_plate
        kwargs["vectorize_particles"] = self.chunk_size > 1
        super().__init__(num_particles, *args, **kwargs)
        self._is_compared = not self.vectorize_particles

    @property
    def no_claim(self) -> str | None:
        """Why its stationary points are not those of the ELBO; `None` where they are."""
        several = self.num_particles > 1
        return "the importance weighted bound is another objective" if several else None

    def lean(self) -> Capturable | str:
        """The objective in the form that is captured; in chunks it is not to be captured."""
        if self.chunk_size < self.num_particles:
            return "particles in chunks are held one chunk at a time"
        return super().lean()

    def differentiable_loss(
        self, model: Callable, guide: Callable, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss `-L_K`, summed over the data plate and scaled as the host does.

        Raises:
            ValueError: If no plate holds all data, a site is outside of it, `scale` handlers differ
                between sites, or the guide lacks a latent site of the model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        self._guess_plates(model, guide, args, kwargs)
        chunks = list(self._chunks(model, guide, args, kwargs))
        values = torch.cat([chunk.values for chunk in chunks])
        loss = -chunks[0].total(log_mean_exp(values))
        if self.gradient == "plain":
            return loss
        normalised = torch.softmax(values, 0).detach().split(self.chunk_size)
        surrogates = [self._surrogate(c, w) for c, w in zip(chunks, normalised, strict=True)]
        surrogate = torch.stack(surrogates).sum()
        return loss.detach() + surrogate - surrogate.detach()

    @torch.no_grad()
    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The value of `differentiable_loss`."""
        values, first = self._values(model, guide, args, kwargs)
        loss = -first.total(log_mean_exp(values))
        warn_if_nan(loss, "loss")
        return loss.item()

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The value of `differentiable_loss`; its gradients are left in the parameters."""
        if self.chunk_size == self.num_particles:
            loss = self.differentiable_loss(model, guide, *args, **kwargs)
            if loss.requires_grad:
                loss.backward(retain_graph=self.retain_graph)
            warn_if_nan(loss, "loss")
            return loss.item()
        # Before the draws, since guessing draws too.
        self._guess_plates(model, guide, args, kwargs)
        # The weights of all particles come first, and then the same draws again with gradients.
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices), torch.no_grad():
            values, first = self._values(model, guide, args, kwargs)
        normalised = torch.softmax(values, 0).split(self.chunk_size)
        chunks = self._chunks(model, guide, args, kwargs)
        for chunk, weights in zip(chunks, normalised, strict=True):
            surrogate = self._surrogate(chunk, weights)
            if surrogate.requires_grad:
                surrogate.backward(retain_graph=self.retain_graph)
        loss = -first.total(log_mean_exp(values))
        warn_if_nan(loss, "loss")
        return loss.item()

    @torch.no_grad()
    def terms(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> IWAETerms:
        """The bound, the ELBO and the effective sample size at the same draws.

        Raises:
            ValueError: As `differentiable_loss` does.
        """
        values, first = self._values(model, guide, args, kwargs)
        weights = torch.softmax(values, 0)
        rows = log_mean_exp(values), values.mean(0), 1 / weights.square().sum(0)
        return IWAETerms(*(first.across.average(row.mean(), len(row)) for row in rows))

    @torch.no_grad()
    def log_weights(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> Tensor:
        """The log-weights `log p(x_n, z_nk) - log q(z_nk|x_n)`, of shape `(K, B)`, without a scale.

        Raises:
            ValueError: As `differentiable_loss` does.
        """
        return self._values(model, guide, args, kwargs)[0]

    def _values(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Tensor, "LogWeights"]:
        self._guess_plates(model, guide, args, kwargs)
        chunks = [(c.values, c.weights) for c in self._chunks(model, guide, args, kwargs)]
        return torch.cat([values for values, _ in chunks]), chunks[0][1]

    def _surrogate(self, chunk: "_Chunk", weights: Tensor) -> Tensor:
        """What has the gradient of the loss, from normalised weights of shape `(K, B)`."""
        if self.gradient == "plain":
            return -chunk.total(weights * chunk.values)
        # The guide's parameters see the draws alone, and the density only as its argument moves.
        paths = path_gradient(chunk.values, weights, chunk.held, self.gradient)
        return -chunk.total((weights * chunk.weights.model).sum() + paths)

    def _guess_plates(self, model: Callable, guide: Callable, args: tuple, kwargs: dict) -> None:
        if self.vectorize_particles and self.max_plate_nesting == float("inf"):
            self._guess_max_plate_nesting(model, guide, args, kwargs)
        if self._is_compared:
            return
        self._is_compared = True

        def trace(model: Callable, guide: Callable, values: Values | None = None) -> Pair:
            return self._get_trace(model, guide, args, kwargs, values)

        fine = can_be_vectorised(model, guide, trace, self._log_weights, self.max_plate_nesting)
        if self.ranks is not None:
            # What one rank has found out, all go by.
            fine = all(self.ranks.gather(int(fine)))
        if not fine:
            warn(
                "two particles at once have other log-weights than one by one, or none: they are "
                "drawn one by one, as `vectorize_particles=False` asks for",
                stacklevel=4,
            )
            self.chunk_size, self.vectorize_particles = 1, False

    def _chunks(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> Iterator["_Chunk"]:
        rows: Values = {}
        for start in range(0, self.num_particles, self.chunk_size):
            fns = [model, guide]
            if self.vectorize_particles:
                size = min(self.chunk_size, self.num_particles - start)
                fns = [in_particles(fn, size, self.max_plate_nesting) for fn in fns]
            held: list[HeldDraw] = []
            values: Values = rows
            if self.gradient != "plain" and torch.is_grad_enabled():
                drawn = trace_guide(fns[1], args, kwargs, values=rows)
                check_reparameterised(drawn.sites)
                held = held_draws(drawn.sites)
                values = {**drawn.rows, **{h.site.name: h.site.holding(h.leaf) for h in held}}
            traced = self._get_trace(fns[0], fns[1], args, kwargs, values)
            weights = self._log_weights(traced, shared=True)
            yield _Chunk(torch.atleast_2d(weights.values), weights, held)
            # All particles see the same subsample.
            rows = traced.rows

    def _get_trace(
        self,
        model: Callable,
        guide: Callable,
        args: tuple,
        kwargs: dict,
        values: Values | None = None,
    ) -> Pair:
        pair = trace_pair(
            model, guide, args, kwargs, max_plate_nesting=self.max_plate_nesting, values=values
        )
        check_reparameterised(pair.guide)
        return self.read(pair)

    def _log_weights(self, pair: Pair, *, shared: bool = False) -> LogWeights:
        pair = site_terms(pair, closed_form=False, entropies=False)
        if shared:
            pair = self.share(pair, self.data_plate)
        return log_weights(pair.records, self.data_plate)


class _Chunk(NamedTuple):
    values: Tensor  # log-weights, (K, B)
    weights: LogWeights
    held: list[HeldDraw]

    def total(self, values: Tensor) -> Tensor:
        return self.weights.total(values)


def log_mean_exp(values: Tensor) -> Tensor:
    """`log 1/K sum_k exp(values_k)`, over the first dimension."""
    return torch.logsumexp(values, 0) - torch.log(values.new_tensor(float(len(values))))
