"""Stacks of bits, one a chain, which give and take decisions of known probability."""

from collections.abc import Callable
from hashlib import shake_128
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A probability is a whole number of these parts, at least one: the coder's 24 bits.
PRECISION = 24
TOTAL = 1 << PRECISION

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Starved(Exception):
    """A stack had fewer bits than a draw took."""


class Stacks:
    """Stacks of bits on the ANS coder of `constriction`, each with a seed at its bottom.

    Rows of arrays are chains. What is pushed is popped in the same order, as from a queue, within
    one call, and in the reverse order from one call to another.

    Args:
        words: For each chain its words of 32 bits, the top of the stack last.

    Raises:
        ImportError: If `constriction` is missing.

    Example:
        >>> stacks = Stacks([seed_words(0, 4)])
        >>> ones = np.array([[1 << 20, 1 << 23]])
        >>> bits = stacks.pop(ones)
        >>> stacks.push(bits, ones)
        >>> bool((stacks.words()[0] == seed_words(0, 4)).all())
        True
    """

    def __init__(self, words: list[NDArray[np.uint32]]) -> None:
        stream = constriction().stream
        self._coders = [stream.stack.AnsCoder(w) for w in words]
        # Weights of a sum that the coder does not have to scale are its whole numbers less one.
        self._decision = stream.model.Categorical(perfect=False)
        self._uniform: Callable[[int], Any] = stream.model.Uniform
        self._seeds = [len(w) for w in words]
        self.untouched = [coder.pos()[0] for coder in self._coders]

    def pop(self, ones: Ints, is_open: Bools | None = None) -> Bools:
        """Pops decisions, `(A, n)`, of the first A chains.

        Args:
            ones: The probability of a one, in parts of `TOTAL`.
            is_open: What there is to decide; the others are zeros. `None` for all.
        """
        weights = _weights(ones)
        if is_open is None:
            bits = [c.decode(self._decision, w) for c, w in self._with(weights)]
            return np.stack(bits) != 0
        popped = np.zeros(ones.shape, bool)
        for row, where, (coder, w) in zip(popped, is_open, self._with(weights), strict=True):
            if where.any():
                row[where] = coder.decode(self._decision, w[where]) != 0
        return popped

    def push(self, bits: Bools, ones: Ints, is_open: Bools | None = None) -> None:
        """Pushes decisions, for the arguments see `pop`."""
        weights, symbols = _weights(ones), bits.astype(np.int32)
        for i, (coder, w) in enumerate(self._with(weights)):
            if is_open is None:
                coder.encode_reverse(symbols[i], self._decision, w)
            elif is_open[i].any():
                coder.encode_reverse(symbols[i][is_open[i]], self._decision, w[is_open[i]])

    def pop_uniform(self, num_chains: int, num: int, num_bits: int) -> Ints:
        """Pops numbers below `2^num_bits`, `(num_chains, num)`, all equally probable."""
        model = self._uniform(1 << num_bits)
        popped = [c.decode(model, num) for c in self._coders[:num_chains]]
        return np.stack(popped).astype(np.int64)

    def push_uniform(self, values: Ints, num_bits: int) -> None:
        """Pushes numbers below `2^num_bits`, `(A, n)`."""
        model = self._uniform(1 << num_bits)
        for coder, row in self._with(values.astype(np.int32)):
            coder.encode_reverse(row, model)

    def look(self) -> None:
        """Notes how deep the stacks are.

        Raises:
            Starved: If one has come to its end.
        """
        for i, coder in enumerate(self._coders):
            depth, state = coder.pos()
            self.untouched[i] = min(self.untouched[i], depth)
            if not depth and state < 1 << 32:
                raise Starved

    def num_bits(self) -> int:
        """How many bits lie on the stacks, without those of the seeds that nothing touched."""
        return sum(c.num_valid_bits() for c in self._coders) - 32 * sum(self.untouched)

    def words(self) -> list[NDArray[np.uint32]]:
        """For each chain its words."""
        return [coder.get_compressed() for coder in self._coders]

    def _with(self, rows: NDArray[Any]) -> Any:
        return zip(self._coders[: len(rows)], rows, strict=True)


def seed_words(chain: int, num: int) -> NDArray[np.uint32]:
    """The seed of a chain, `num` words that are the same everywhere and for ever."""
    stream = shake_128(f"elbo-entropy, chain {chain}".encode()).digest(4 * num)
    words = np.frombuffer(stream, "<u4").astype(np.uint32)
    # Of words at the top that are zero, the coder would know nothing.
    words[-1] |= np.uint32(1 << 31)
    return words


def constriction() -> Any:
    """The package of the coder.

    Raises:
        ImportError: If it is missing; says how to get it.
    """
    try:
        import constriction as package
    except ImportError as error:
        error.add_note("compression needs constriction: pip install 'elbo-entropy[compression]'")
        raise
    return package


def _weights(ones: Ints) -> NDArray[np.float64]:
    weights = np.empty((*ones.shape, 2))
    weights[..., 1] = ones - 1
    weights[..., 0] = (TOTAL - 1) - ones
    return weights
