"""Steps of the host's SVI with what the objective notes of each, beside its loss."""

from copy import copy
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from numpyro.infer import SVI

# A place in the mutable state, which the host hands from a loss to who takes the step.
NOTES = "notes of the objective"


def update_with_notes(svi: SVI, state: Any, *args: Any, **kwargs: Any) -> tuple[Any, Array]:
    """A step of the host's SVI, and its loss with what the objective notes.

    Args:
        svi: The host's SVI.
        state: Its state.
        *args: Those of model and guide.
        **kwargs: The same.

    Returns:
        The state after the step; and the loss, or where the objective has `history_terms` the loss
        and their values one after another, `(1 + k,)`.
    """
    num_notes = len(getattr(svi.loss, "history_terms", ()))
    if not num_notes:
        return svi.update(state, *args, **kwargs)
    noting = copy(svi)
    noting.loss = _Noting(svi.loss)
    held = {**(state.mutable_state or {}), NOTES: jnp.zeros(num_notes)}
    after, loss = noting.update(state._replace(mutable_state=held), *args, **kwargs)
    rest = dict(after.mutable_state)
    values = jnp.concatenate([loss[None], rest.pop(NOTES)])
    return after._replace(mutable_state=rest or None), values


class _Noting:
    """An objective whose notes are part of the mutable state."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss

    def loss_with_mutable_state(
        self, rng_key: Array, param_map: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        params = {name: value for name, value in param_map.items() if name != NOTES}
        found = self._loss.loss_with_mutable_state(rng_key, params, *args, **kwargs)
        state = {**(found["mutable_state"] or {}), NOTES: jnp.stack(found["notes"])}
        return {"loss": found["loss"], "mutable_state": state}
