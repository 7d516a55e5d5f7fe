"""Batches say their arguments in any way that a model can be called."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pyro_entropy import (
    EntropySumDiagnostic,
    explain_residuals,
    log_likelihood,
    mutual_information,
    to_datatree,
)

X = torch.linspace(-1.0, 1.0, 10)
LABELS = torch.arange(10) % 2


def model(x, labels=None, *, size=1.0):
    shift = 0.0 if labels is None else labels
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, size))
        pyro.sample("x", dist.Normal(z + shift, 1.0), obs=x)


def guide(x, labels=None, *, size=1.0):
    shift = 0.0 if labels is None else labels
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * (x - shift), size))


FORMS = {
    "by name": [{"x": X, "labels": LABELS}],
    "in order": [(X, LABELS)],
    "a list": [[X, LABELS]],
    "both": [((X,), {"labels": LABELS})],
    "a DataLoader": DataLoader(
        TensorDataset(X, LABELS), batch_size=10, generator=torch.Generator()
    ),
}


def information(batches):
    return mutual_information(model, guide, next(iter(batches)))["total"][0]


def groups(batches):
    return to_datatree(model, guide, batches, num_draws=2)["posterior"]["z"].sum()


LOOKS = {
    "diagnostic": lambda batches: EntropySumDiagnostic(model, guide).run(batches)["elbo"],
    "claims": lambda batches: explain_residuals(model, guide, batches)[0].residual,
    "likelihood": lambda batches: log_likelihood(model, guide, batches, num_particles=5).mean,
    "groups": groups,
    "information": information,
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_arguments(look, form):
    def value(batches):
        pyro.set_rng_seed(0)
        return float(LOOKS[look](batches))

    assert value(FORMS[form]) == pytest.approx(value(FORMS["in order"]), rel=1e-6)


def test_a_model_without_arguments():
    def own():
        model(X)

    report = EntropySumDiagnostic(own, lambda: guide(X)).run([()])
    assert report.size == "10 data points"


def test_values_by_name_are_checked():
    with pytest.raises(ValueError, match="expected finite values for `batches`"):
        EntropySumDiagnostic(model, guide).run([{"x": X / 0}])
