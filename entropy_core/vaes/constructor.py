"""The arguments that a VAE was made with, as text in the metadata of its weights."""

import json
import os
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import numpy as np

from entropy_core.checks import expected

# What a float type is called in a file: that of NumPy, which either backend knows.
TYPES = ("dtype", "compute_dtype")

ATTRIBUTE = "_made_with"


def what_to_call(vae: object) -> str:
    """The error of a VAE that is called where a model or guide is asked for."""
    what = "its `model` or `guide`, or `encode`, `decode` and `reconstruct`,"
    return expected(what, type(vae).__name__, "a call of the VAE itself")


def remember_arguments(cls: type, type_name: Callable[[Any], str]) -> None:
    """Lets the instances of a class know what they were made with, for `metadata_of`.

    Args:
        cls: The class; where it inherits its constructor, nothing is done.
        type_name: The name of a float type of the backend.
    """
    make = cls.__dict__.get("__init__")
    if make is None:
        return
    parameters = signature(make)

    @wraps(make)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
        # A constructor of a parent class, which this one calls, finds it there already.
        if ATTRIBUTE not in self.__dict__:
            try:
                bound = parameters.bind(self, *args, **kwargs)
            except TypeError:
                text = None  # The constructor itself says what is wrong.
            else:
                text = _text_of(bound.arguments, parameters.parameters, type_name)
            object.__setattr__(self, ATTRIBUTE, text)
        make(self, *args, **kwargs)

    cls.__init__ = remembering  # type: ignore[misc]


def metadata_of(vae: Any, data_shape: object) -> dict[str, str]:
    """What a file of weights says of the VAE that they belong to.

    With `arguments`, from which `made_again` makes it, where these are numbers, texts and float
    types; not for a VAE made of parts.
    """
    found = {"variant": type(vae).__name__, "data_shape": str(data_shape)}
    text = vae.__dict__.get(ATTRIBUTE)
    return found if text is None else found | {"arguments": text}


def made_again(
    cls: type,
    metadata: Mapping[str, str],
    path: str | os.PathLike[str],
    type_of: Callable[[str], Any],
) -> Any:
    """A new VAE like the one that a file of weights is of.

    Args:
        cls: That class, or one that it inherits from.
        metadata: What the file says.
        path: The file.
        type_of: The float type of the backend by its name.

    Raises:
        ValueError: If the file is of another class, or does not say how it was made.
    """
    variant = metadata.get("variant", "an unknown variant")
    found = next((known for known in _with_subclasses(cls) if known.__name__ == variant), None)
    if found is None:
        raise ValueError(expected(f"weights of a {cls.__name__}", "path", f"{path}, of {variant}"))
    if "arguments" not in metadata:
        what = "weights of a VAE that was made from numbers and texts (else `load_weights`)"
        raise ValueError(expected(what, "path", f"{path}, of a {variant} made of parts"))
    try:
        arguments = json.loads(metadata["arguments"])
        for name in TYPES:
            if arguments.get(name) is not None:
                arguments[name] = type_of(arguments[name])
        return found(**{name: _sequences(value) for name, value in arguments.items()})
    except (AttributeError, TypeError, ValueError) as error:
        got = f"{path} with {metadata['arguments']}"
        raise ValueError(expected(f"the arguments of a {variant}", "path", got)) from error


def _text_of(
    arguments: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    type_name: Callable[[Any], str],
) -> str | None:
    named: dict[str, Any] = {}
    for name, value in list(arguments.items())[1:]:  # without `self`
        several = parameters[name].kind is Parameter.VAR_KEYWORD
        named |= value if several else {name: value}
    for name in TYPES:
        if named.get(name) is not None:
            named[name] = type_name(named[name])
    try:
        return json.dumps(named, default=_plain)
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if not hasattr(value, "__array__"):
        raise TypeError
    return np.asarray(value).tolist()


def _sequences(value: Any) -> Any:
    """Sizes as tuples, and other numbers as arrays."""
    if not isinstance(value, list):
        return value
    whole = all(isinstance(part, int) for part in value)
    return tuple(value) if whole else np.asarray(value, float)


def _with_subclasses(cls: type) -> list[type]:
    subclasses: list[type] = cls.__subclasses__()
    return [cls, *(found for subclass in subclasses for found in _with_subclasses(subclass))]
