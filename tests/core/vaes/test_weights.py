"""The weights file: bit for bit the same, or refused with the reason."""

import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from entropy_core.vaes.weights import check_weights, load_weights, save_weights

VIEWS = {
    "matrix": lambda a: a,
    "scalar": lambda a: a[:1, :1].reshape(()),
    "vector": lambda a: a[1],
    "column": lambda a: a[:, 1],
    "empty": lambda a: a[:0],
    "kernel": lambda a: a.reshape(2, 3, 2, 2),
    "transposed": lambda a: a.T,
    "permuted": lambda a: a.reshape(2, 3, 2, 2).transpose(3, 2, 0, 1),
    "every other": lambda a: a[::2, 1::3],
    "reversed": lambda a: a[::-1, ::-1],
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "not finite": lambda a: np.array([-0.0, np.inf, -np.inf, np.nan], a.dtype),
}

METADATA = {"variant": "VAE1", "latent_dim": "2"}
WEIGHTS = {"a": np.ones((2, 3), np.float32), "b": np.array(0.5)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_every_bit_comes_back(view, dtype, tmp_path):
    array = view(np.random.default_rng(0).normal(size=(4, 6)).astype(dtype))
    save_weights(tmp_path / "w", {"decoder.out.weight": array}, {})
    loaded, metadata = load_weights(str(tmp_path / "w"))
    assert loaded.keys() == {"decoder.out.weight"}
    (back,) = loaded.values()
    assert (back.shape, back.dtype) == (array.shape, dtype)
    assert back.tobytes() == array.tobytes()
    assert metadata["dtype"] == np.dtype(dtype).name


def test_the_file_says_what_it_holds(tmp_path):
    save_weights(tmp_path / "w", WEIGHTS, METADATA)
    loaded, metadata = load_weights(tmp_path / "w")
    assert loaded.keys() == WEIGHTS.keys()
    own = {"format": "elbo-entropy", "version": "1", "dtype": "float32, float64"}
    assert metadata == METADATA | own
    # Any reader of safetensors can have the arrays.
    assert {k: v.shape for k, v in load_file(tmp_path / "w").items()} == {"a": (2, 3), "b": ()}


def test_metadata_cannot_hide_format_and_version(tmp_path):
    save_weights(tmp_path / "w", WEIGHTS, {"format": "mine", "version": "9", "dtype": "int8"})
    _, metadata = load_weights(tmp_path / "w")
    assert (metadata["format"], metadata["version"]) == ("elbo-entropy", "1")


@pytest.mark.usefixtures("unchecked")
def test_a_failing_write_leaves_the_old_file(tmp_path):
    save_weights(tmp_path / "w", WEIGHTS, METADATA)
    old = (tmp_path / "w").read_bytes()
    with pytest.raises(TypeError):
        save_weights(tmp_path / "w", WEIGHTS, {"latent_dim": 2})
    assert (tmp_path / "w").read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["w"]


def test_a_half_written_file_never_takes_the_place_of_the_old(tmp_path, monkeypatch):
    path = tmp_path / "w"
    save_weights(path, WEIGHTS, METADATA)
    old = path.read_bytes()

    def full(file):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        save_weights(path, {"c": np.ones(9)}, METADATA)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=rf"a safetensors file for `path`; got {path}"):
            load_weights(path)


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        (None, "format None, version None"),
        ({"format": "pt"}, "format pt, version None"),
        ({"format": "elbo-entropy", "version": "2"}, "format elbo-entropy, version 2"),
        ({"version": "1"}, "format None, version 1"),
    ],
)
def test_a_foreign_file_and_another_version_are_refused(metadata, found, tmp_path):
    save_file(WEIGHTS, tmp_path / "w", metadata=metadata)
    with pytest.raises(
        ValueError, match=f"expected elbo-entropy weights, version 1 for `path`; got {found}$"
    ):
        load_weights(tmp_path / "w")


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "w").write_text("no safetensors")
    with pytest.raises(ValueError, match="expected a safetensors file for `path`"):
        load_weights(tmp_path / "w")


SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
MODEL = {"a": ((2, 3), SINGLE), "b": ((), DOUBLE)}

FAULTS = {
    "missing": ({"a": WEIGHTS["a"]}, "no b"),
    "all missing": ({}, "no a; no b"),
    "extra": (WEIGHTS | {"c": np.ones(1)}, "an unknown c"),
    "misshapen": (
        WEIGHTS | {"a": np.ones((3, 2), np.float32)},
        r"a of shape \(3, 2\) for \(2, 3\)",
    ),
    "not scalar": (WEIGHTS | {"b": np.ones(1)}, r"b of shape \(1,\) for \(\)"),
    "lossy": (WEIGHTS | {"a": np.ones((2, 3))}, "a in float64 for float32"),
    "all at once": (
        {"a": np.ones((2, 3)), "d": np.ones(1), "c": np.ones(1)},
        "no b; an unknown c; an unknown d; a in float64 for float32",
    ),
}


@pytest.mark.parametrize(("weights", "faults"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_named(weights, faults):
    message = f"expected the weights of the model for `weights`; got {faults}$"
    with pytest.raises(ValueError, match=message):
        check_weights(weights, MODEL)


def test_weights_that_lose_nothing_are_taken():
    check_weights(WEIGHTS, MODEL)
    check_weights(WEIGHTS | {"b": np.array(0.5, np.float32)}, MODEL)
    check_weights({}, {})


def test_float_types_that_numpy_has_not_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        metadata = {"format": "elbo-entropy", "version": "1"}
        save_file({"w": torch.ones(2).to(dtype)}, tmp_path / "w", metadata=metadata)
        with pytest.raises(ValueError, match="NumPy's float types for `path`"):
            load_weights(tmp_path / "w")
