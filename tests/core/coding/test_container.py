"""The file of a code: every byte counts."""

import subprocess
import sys

import numpy as np
import pytest

from entropy_core.coding.batches import Nets
from entropy_core.coding.bins import Mixture, Normals
from entropy_core.coding.chains import read_data, write_code
from entropy_core.coding.container import CompressedData, chain_bytes, unpack
from entropy_core.coding.levels import Likelihood

H, D = 2, 5
WEIGHTS = np.random.default_rng(0).standard_normal((H, D))
DATA = (np.random.default_rng(1).random((9, D)) < 0.3).astype(np.float32)


def nets(weights=WEIGHTS, shift=0.0, version="1"):
    """A model in NumPy."""
    return Nets(
        prior=Mixture(np.zeros(1), Normals(np.zeros((1, H)), np.ones((1, H)))),
        posterior=lambda x: Normals(x @ WEIGHTS.T + shift, np.full((len(x), H), 0.3)),
        likelihood=lambda z: Likelihood("bernoulli", (z @ weights,), 2),
        weights={"w": weights},
        environment={"backend": "numpy", "version": version},
    )


def code_of(data=DATA, num_chains=2):
    return write_code(nets(), data, num_chains, None)


def read(code, model=None, shape=(D,)):
    return read_data(code, lambda shape: model or nets(), shape)


def test_data_come_back_from_bytes_and_files(tmp_path):
    compressed = code_of()
    compressed.save(tmp_path / "digits.code")
    for code in (compressed, compressed.code, tmp_path / "digits.code"):
        np.testing.assert_array_equal(read(code), DATA)
    assert len(compressed) == len(compressed.code) == (tmp_path / "digits.code").stat().st_size


def test_any_changed_byte_is_found():
    code = code_of().code
    for i in range(len(code)):
        for flip in (1, 128, 255):
            changed = bytearray(code)
            changed[i] ^= flip
            with pytest.raises(ValueError, match="for `code`; got"):
                read(bytes(changed))


def test_any_cut_is_found():
    code = code_of().code
    for end in range(len(code)):
        with pytest.raises(ValueError, match="for `code`; got"):
            read(code[:end])
    with pytest.raises(ValueError, match="cut off or changed"):
        read(code + b"\0")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"written for `code`; got .*missing"):
        read(tmp_path / "missing")


def test_another_version_is_named():
    with pytest.raises(ValueError, match="got here version 2 for 1"):
        read(code_of(), nets(version="2"))


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="expected the weights that the code was written with"):
        read(code_of(), nets(WEIGHTS + 1e-7))


def test_the_same_weights_in_another_model_are_refused():
    with pytest.raises(ValueError, match="one with these weights and other outputs"):
        read(code_of(), nets(shift=1e-6))


def test_nets_that_return_other_floats_are_refused():
    """Where fixed inputs do not show it, as on a processor of the same name."""
    calls = []

    def posterior(x):
        calls.append(len(x))
        q = nets().posterior(x)
        return q if len(calls) == 1 else Normals(q.loc + 0.1, q.scale)

    model = nets()
    other = Nets(model.prior, posterior, model.likelihood, model.weights, model.environment)
    with pytest.raises(ValueError, match="whose nets return other numbers here"):
        read(code_of(), other)


def test_data_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"data of shape \(5,\) for `vae`; got \(6,\)"):
        read(code_of(), shape=(6,))


def test_the_rate_is_that_of_the_file():
    compressed = code_of(num_chains=4)
    rate, (header, chains) = compressed.rate, unpack(compressed.code)
    assert rate.code + rate.header == 8 * len(compressed.code)
    assert rate.code == 8 * chain_bytes(compressed.code, 4)
    assert rate.seed == 32 * sum(header.seed_words - skip for skip, _ in chains)
    assert rate.seed + rate.latents + rate.data - rate.bits_back == pytest.approx(
        rate.code, abs=4 * 16
    )
    parts = rate.negative_elbo + rate.probability_precision + rate.rounding
    assert parts == pytest.approx(rate.code_less_seed)


def test_a_chain_for_each_point_and_more_chains_than_points():
    for num in (len(DATA), 100):
        compressed = code_of(num_chains=num)
        assert compressed.rate.num_chains == len(DATA)
        np.testing.assert_array_equal(read(compressed), DATA)


def test_a_seed_that_is_too_short_grows(monkeypatch):
    """With data that cost nothing, stacks do not grow."""
    from entropy_core.coding import chains

    starved = []

    class Stacks(chains.Stacks):
        def look(self):
            super().look()
            if len(starved) < 2:
                starved.append(self.words())
                raise chains.Starved

    monkeypatch.setattr(chains, "Stacks", Stacks)
    compressed = code_of()
    assert unpack(compressed.code)[0].seed_words == 4 * 5
    np.testing.assert_array_equal(read(compressed), DATA)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, None), "a positive integer for `num_chains`"),
        ((2, 0), "a positive integer for `precision`"),
        ((2, 21), "at most 20 bits for `precision`; got 21"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        write_code(nets(), DATA, *options)


def test_floats_that_numpy_has_not_are_refused():
    with pytest.raises(ValueError, match="for `data`; got float128"):
        write_code(nets(), DATA.astype(np.longdouble), None, None)


def test_a_missing_coder_is_named():
    code = """
import sys
sys.modules["constriction"] = None
from entropy_core.coding.bits.stacks import Stacks
try:
    Stacks([])
except ImportError as error:
    print(*error.__notes__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'elbo-entropy[compression]'" in done.stdout


def test_printed_rates_have_all_parts():
    printed = str(code_of().rate)
    for part in ("seed", "header", "negative ELBO", "bits back", "9 data points of 5 variables"):
        assert part in printed


def test_compressed_data_are_what_their_bytes_are():
    assert isinstance(code_of(), CompressedData)
