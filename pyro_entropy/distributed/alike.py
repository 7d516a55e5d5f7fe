"""Parameters that have the values of the first rank from the first time that they are read."""

from typing import Any

import pyro
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_entropy.distributed.ranks import Ranks


class Alike(Messenger):
    """Gives each parameter the values of the first rank, the first time that a run reads it.

    Ranks that run the same pair read the same parameters in the same order. One that is made later,
    or anew after the store was cleared, is met as a new one.

    Args:
        ranks: The ranks.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self.ranks = ranks
        self.known: dict[str, Tensor] = {}

    def _pyro_post_param(self, msg: Any) -> None:
        name, leaf = msg["name"], msg["value"].unconstrained()
        if self.known.get(name) is leaf:
            return
        self.ranks.broadcast([leaf])
        self.known[name] = leaf
        if msg["value"] is not leaf:
            # It was computed from the values before.
            msg["value"] = pyro.get_param_store()[name]
