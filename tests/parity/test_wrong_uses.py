"""What newcomers get wrong, and the error that says what is expected, in either package."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from entropy_core.vaes.weights import save_weights

pytestmark = pytest.mark.usefixtures("unchecked")

X = np.random.default_rng(0).random((12, 4), np.float32)
KEY = jax.random.key(0)
PACKAGES = {"pyro": pyro_entropy, "numpyro": numpyro_entropy}


class Side(NamedTuple):
    """A package with a VAE and data; `fit` and `run` take what the host has before them."""

    package: Any
    vae: Any
    x: Any
    before: tuple

    def fit(self, *args, **kwargs):
        keys = self.before[:1]
        return self.package.fit(*keys, *args, num_epochs=1, progress_bar=False, **kwargs)

    def run(self, model, guide, *args):
        return self.package.EntropySumDiagnostic(model, guide).run(*self.before, *args)


@pytest.fixture(params=PACKAGES)
def side(request):
    vae = PACKAGES[request.param].VAE1(4, 2, hidden=(3,))
    if request.param == "pyro":
        return Side(pyro_entropy, vae, torch.tensor(X), ())
    return Side(numpyro_entropy, vae, X, (KEY, vae.init(KEY)))


CALLED = r"expected its `model` or `guide`, .* for `VAE1`; got a call of the VAE itself"
OBJECTIVE = r"expected an objective, such as Standard_ELBO\(\) for `loss`; got "
LABELS = r"expected the size of the data set \(a VAE takes no labels\) for `total`; got an array of"
FOLDER = r"expected the name of a file for `path`; got the folder"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda s: s.vae(s.x), TypeError, CALLED),
        (lambda s: s.fit(s.vae, s.vae.guide, s.x), TypeError, CALLED),
        (lambda s: s.run(s.vae, s.vae.guide, s.x), TypeError, CALLED),
        (lambda s: s.run(s.vae.guide, s.vae.model, s.x), ValueError, "the wrong way round"),
        (
            lambda s: s.fit(s.vae.model, s.vae.guide, s.x, loss="elbo"),
            TypeError,
            OBJECTIVE + "'elbo'",
        ),
        (
            lambda s: s.fit(s.vae.model, s.vae.guide, s.x, loss=s.package.Standard_ELBO),
            TypeError,
            OBJECTIVE + "the class Standard_ELBO",
        ),
        (lambda s: s.run(s.vae.model, s.vae.guide, [(s.x, s.x[:, 0])]), ValueError, LABELS),
        (lambda s: s.fit(s.vae.model, s.vae.guide, (s.x, s.x[:, 0])), (TypeError, ValueError), ""),
    ],
)
def test_wrong_uses(side, use, error, message):
    with pytest.raises(error, match=message):
        use(side)


def test_labels_in_fit():
    vae = pyro_entropy.VAE1(4, 2)
    with pytest.raises(ValueError, match=LABELS):
        pyro_entropy.fit(vae.model, vae.guide, (torch.tensor(X), torch.arange(12)))

    def model(x, total=None):
        raise AssertionError

    message = "expected what `model` takes for `data`; got multiple values for argument 'total'"
    with pytest.raises(TypeError, match=message):
        numpyro_entropy.fit(KEY, model, model, (X, np.arange(12)))


def test_a_folder_for_a_file(side, tmp_path):
    report = side.run(side.vae.model, side.vae.guide, side.x)
    weights = side.before[1:]
    for write in (report.save, lambda path: side.vae.save_weights(*weights, path)):
        with pytest.raises(IsADirectoryError, match=FOLDER):
            write(tmp_path)
    with pytest.raises(IsADirectoryError, match=FOLDER):
        save_weights(tmp_path, {}, {})
    with pytest.raises(FileNotFoundError, match="expected a safetensors file for `path`; got"):
        side.package.VAE.load(tmp_path)
    assert not list(tmp_path.iterdir())


def test_keys_and_parameters():
    vae = numpyro_entropy.VAE1(4, 2, hidden=(3,))
    params, diagnostic = vae.init(KEY), numpyro_entropy.EntropySumDiagnostic(vae.model, vae.guide)
    swapped = "expected a dictionary of parameters for `params`; got "
    for use in (
        lambda: diagnostic.run(params, KEY, X),
        lambda: numpyro_entropy.log_likelihood(params, KEY, vae.model, vae.guide, X),
        lambda: numpyro_entropy.Standard_ELBO().loss(params, KEY, vae.model, vae.guide, X),
        lambda: vae.save_weights("vae.safetensors", params),
    ):
        with pytest.raises(TypeError, match=swapped):
            use()
    with pytest.raises(TypeError, match=r"expected a key, .* for `rng_key`; got 0"):
        numpyro_entropy.fit(0, vae.model, vae.guide, X)


def test_captured_losses_are_objectives():
    vae = pyro_entropy.VAE1(4, 2)
    with pytest.raises(TypeError, match=OBJECTIVE + "the class Standard_ELBO"):
        pyro_entropy.CapturedLoss(pyro_entropy.Standard_ELBO, vae.model, vae.guide)
