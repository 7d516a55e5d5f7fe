"""The sizes of a VAE's two nets, which both backends check and read alike."""

from collections.abc import Iterable, Sequence

from entropy_core.checks import check_positive_int, check_shape, expected

NETS = ("conv", "dense_block", "mlp")


def check_hidden(hidden: object) -> tuple[int, ...]:
    """The sizes of hidden layers; there may be none.

    Raises:
        ValueError: If `hidden` is no sequence of positive integers.
    """
    if not isinstance(hidden, Sequence) or isinstance(hidden, str):
        raise ValueError(expected("a sequence of sizes", "hidden", repr(hidden)))
    return check_shape(hidden, "hidden") if len(hidden) else ()


def check_input(shape: Sequence[int], in_shape: tuple[int, ...]) -> None:
    """Refuses an input of another shape, which a net that flattens or reshapes would scramble.

    Args:
        shape: The shape of the input, `(*batch, *in_dim)`.
        in_shape: The dimensions that belong to one data point, `in_dim`.

    Raises:
        ValueError: If `shape` does not end in `in_shape`.
    """
    if tuple(shape[len(shape) - len(in_shape) :]) != in_shape:
        what = f"a shape that ends in {in_shape}"
        raise ValueError(expected(what, "x", f"shape {tuple(shape)}"))


def check_activation(activation: str, known: Iterable[str]) -> None:
    """Refuses the name of an activation that is not known.

    Raises:
        ValueError: If `activation` is not among the `known`.
    """
    if activation not in known:
        raise ValueError(expected(f"one of {sorted(known)}", "activation", activation))


def check_compute_dtype(dtype: object) -> None:
    """Refuses types to compute in whose range is not that of float32: gradients need scales there.

    Raises:
        ValueError: If `dtype` is neither `None` nor a bfloat16, be it torch's, JAX's or NumPy's.
    """
    if dtype is not None and "bfloat16" not in str(dtype):
        raise ValueError(expected("bfloat16 or None", "compute_dtype", dtype))


def check_halvings(
    image: tuple[int, ...], channels: Sequence[int], name: str
) -> tuple[int, int, int]:
    """The shape of an image after convolutions that each halve its height and width.

    Args:
        image: The shape of the image, `(C, height, width)`.
        channels: The channels after each convolution.
        name: The argument that holds the image's shape.

    Raises:
        ValueError: If `image` is no such shape, or cannot be halved that often.

    Example:
        >>> check_halvings((3, 64, 64), (16, 32, 64), "data_dim")
        (64, 8, 8)
    """
    factor = 2 ** len(channels)
    if len(image) != 3 or image[1] % factor or image[2] % factor:
        what = f"a shape (C, height, width) with multiples of {factor}"
        raise ValueError(expected(what, name, image))
    return channels[-1], image[1] // factor, image[2] // factor


class Sizes:
    """The sizes of a VAE: those of its data, its latents and the layers between.

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        net: The kind of both nets: "mlp", "dense_block" or "conv" (for images).
        hidden: The sizes of the encoder's hidden layers, for "conv" their channels; the decoder's
            are the same, reversed.
        activation: The name of the non-linearity.

    Raises:
        ValueError: If a size is no positive integer, or the kind is not known.
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        net: str,
        hidden: Sequence[int],
        activation: str,
    ) -> None:
        check_positive_int(latent_dim, "latent_dim")
        if net not in NETS:
            raise ValueError(expected(f"one of {list(NETS)}", "net", net))
        self.data_shape = check_shape(data_dim, "data_dim")
        self.latent_dim = latent_dim
        self.net = net
        self.hidden = check_hidden(hidden)
        self.activation = activation
        if net == "conv":
            check_halvings(self.data_shape, check_shape(hidden, "hidden"), "data_dim")

    def head_shape(self, heads: int) -> tuple[int, ...]:
        """The shape that holds several parameters for each observed variable, one after another.

        They lie side by side in the first dimension: channels for images.
        """
        first, *rest = self.data_shape
        return heads * first, *rest
