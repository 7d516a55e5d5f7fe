"""Batches say their arguments in any way that a model can be called; numbers are static."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.infer import Trace_ELBO

from numpyro_entropy import (
    EntropySumDiagnostic,
    explain_residuals,
    log_likelihood,
    mutual_information,
    to_datatree,
)

KEY = random.key(0)
X = jnp.linspace(-1.0, 1.0, 10)
PARAMS = {"a": jnp.asarray(0.5)}


def model(x, num=1, *, kind="normal"):
    family = {"normal": dist.Normal, "laplace": dist.Laplace}[kind]
    with numpyro.plate("data", len(x)):
        # The number decides on a shape, as that of latents or of classes does.
        z = numpyro.sample("z", dist.Normal(jnp.zeros(num), 1.0).to_event(1))
        numpyro.sample("x", family(z.sum(-1), 1.0), obs=x)


def guide(x, num=1, *, kind="normal"):
    a = numpyro.param("a", 0.5)
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(a * x[:, None] * jnp.ones(num), 1.0).to_event(1))


FORMS = {
    "in order": [(X, 3)],
    "by name": [{"x": X, "num": 3, "kind": "normal"}],
    "both": [((X,), {"num": 3})],
}
LOOKS = {
    "diagnostic": lambda batches: EntropySumDiagnostic(model, guide, num_particles=1).run(
        KEY, PARAMS, batches
    )["elbo"],
    "claims": lambda batches: explain_residuals(KEY, PARAMS, model, guide, batches)[0].residual,
    "likelihood": lambda batches: (
        log_likelihood(KEY, PARAMS, model, guide, batches, num_particles=2).mean
    ),
    "groups": lambda batches: to_datatree(KEY, PARAMS, model, guide, batches, num_draws=2)[
        "posterior"
    ]["z"].sum(),
    "information": lambda batches: mutual_information(
        KEY, PARAMS, model, guide, batches[0], num_particles=1
    )["total"][0],
}


@pytest.mark.parametrize("look", LOOKS)
def test_any_form_of_arguments(look):
    values = [float(LOOKS[look](batches)) for batches in FORMS.values()]
    assert values == pytest.approx([values[0]] * len(values), rel=1e-9)


def test_batches_of_other_static_arguments_are_compiled_for_themselves():
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1)
    elbos = [diagnostic.run(KEY, PARAMS, [(X, num)])["elbo"] for num in (1, 2)]
    assert elbos[0] != elbos[1]


def test_values_by_name_are_checked():
    with pytest.raises(ValueError, match="expected finite values for `batches`"):
        EntropySumDiagnostic(model, guide).run(KEY, PARAMS, [{"x": X / 0}])


def test_a_model_that_looks_at_the_values_of_its_arguments():
    """`SVI.run` takes it too, as its arguments are no arguments of what it compiles."""

    def grouped(groups, y):
        with numpyro.plate("groups", len(np.unique(groups))):
            level = numpyro.sample("level", dist.Normal(0.0, 1.0))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", dist.Normal(level[groups], 1.0), obs=y)

    def drawn(groups, y):
        with numpyro.plate("groups", len(np.unique(groups))):
            numpyro.sample("level", dist.Normal(0.3, 0.5))

    args = np.arange(6) % 3, np.linspace(-1.0, 1.0, 6)
    diagnostic = EntropySumDiagnostic(grouped, drawn, num_particles=1, closed_form=False)
    report = diagnostic.run(KEY, {}, [args])
    (key,) = random.split(random.fold_in(KEY, 0), 1)
    host = Trace_ELBO().loss(key, {}, grouped, drawn, *args)
    assert report["elbo"] * 6 == pytest.approx(-host.item())
    assert (
        to_datatree(KEY, {}, grouped, drawn, [args], num_draws=2)["posterior"].sizes["groups"] == 3
    )
