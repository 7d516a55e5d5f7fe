"""The two packages have the same files, names and signatures; what the hosts impose is listed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYRO, NUMPYRO = ROOT / "pyro_entropy", ROOT / "numpyro_entropy"

CAPTURE = (
    "calls",
    "captured",
    "graphs",
    "losses",
    "optimiser",
    "replays",
    "simplify",
    "svi",
    "weights",
)

# Parameters live in the modules in Pyro and in a dictionary of their own in NumPyro.
# NumPyro has no categorical distribution of one-hot vectors, and its particles need no plate.
# Its trainings with several seeds run at once, and the steps of an epoch as a loop. What an
# objective notes goes through the host's mutable state.
ONLY_FILES = {
    "numpyro": {
        "compiled.py",
        "layouts.py",
        "params.py",
        "distributions/one_hot.py",
        "elbos/noted.py",
        "training/at_once.py",
        "training/loops.py",
    },
    "pyro": {
        "elbos/particles.py",
        # JAX compiles what Pyro runs in Python.
        *(f"capture/{name}.py" for name in ("__init__", *CAPTURE)),
        # JAX's arrays know of the other devices.
        *(f"distributed/{name}.py" for name in ("__init__", "alike", "elbo", "merging", "ranks")),
    },
}

# NumPyro hands over random keys and parameters, which Pyro keeps in global state and in modules.
# Schedules of optax count steps by themselves. JAX's arrays know of the other devices.
HOST_ARGUMENTS = {
    "across",
    "distributed",
    "rng_key",
    "params",
    "init_params",
    "key",
    "schedule_by",
    "capture",
    "captures",
}

# Names that one host's own interface asks for and the other's does not have.
HOST_NAMES = {
    "pyro": {
        "Capturable",
        "Capturable.check_loss",
        "Capturable.differentiable_loss",
        "Capturable.lean",
        "Capturable.noting",  # through the mutable state in NumPyro
        "Capturable.read",
        "Capturable.share",
        "BAGGINS_ELBO.check_loss",
        "computing_in",  # a layer of Linen is told
        "ContinuousBernoulli.expand",  # NumPyro's distributions are expanded from outside
        "ContinuousBernoulli.rsample",  # `sample` in NumPyro
        "Discretized.expand",
        "is_hidden",  # NumPyro's deterministic sites are no sample sites
        "folded",  # NumPyro's AutoNormal draws from a transformed distribution
        "log_sum_exp",  # in jax.nn
        "FloatingNormalPrior.set_moments",  # in place in Pyro, new parameters in NumPyro
        "IWAE_ELBO.differentiable_loss",
        "IWAE_ELBO.loss",
        "IWAE_ELBO.loss_and_grads",
        "TermsELBO.differentiable_loss",  # pyro.infer.ELBO's interface
        "TermsELBO.loss",
        "TermsELBO.loss_and_grads",
        "VampPrior.encoder",  # a property in Pyro, a field in NumPyro
        "UnitGrid.check",  # `__call__` in NumPyro
        "UnitNormLinear.unit_weight",  # NumPyro's modules do not hold their weights
        "to_numpy",  # JAX's arrays become NumPy's by themselves
        "check_param_store",  # NumPyro has no store
        "reading_params",
        "Looks",  # one run tells how the next ones draw; in NumPyro two are compiled as one
        "Looks.start",
        "Looks.enumerated",
        "Looks.look",
        "leaves_of",
        "common_shape",  # jax.numpy has a fast one
        "keeping_random_state",  # NumPyro's keys are arguments
        "RandomState",
        "RandomState.put_back",
        "buffers_of",  # NumPyro's nets hold none
        "run_pair",  # NumPyro computes densities where they are asked for
        "holding",  # what is held goes with the parameters in NumPyro
        "SeedsResult",  # of each training by itself
        "Steps.end_epoch",  # schedulers of torch's
        "Steps.register",  # NumPyro's state has all parameters
        "Steps.undisturbed",  # NumPyro's keys are arguments
        "load_optimiser",  # each parameter of Pyro's store has an optimiser of its own
        "optimiser_state",
        "random_state",
        "set_random_state",
        "stable_names",
        "tensors_of",
        "write_into",
    },
    "numpyro": {
        "ContinuousBernoulli.sample",
        "Decoder.param",  # parameters are made in the model
        "FloatingNormalPrior.site",
        "BAGGINS_ELBO.loss_with_mutable_state",
        "IWAE_ELBO.loss_with_mutable_state",
        "Profiled_ELBO.loss_with_mutable_state",
        "Standard_ELBO.loss_with_mutable_state",
        "StreamingSelector.params",  # Pyro's modules hold their own
        "TermsELBO.loss_with_mutable_state",  # numpyro.infer.ELBO's interface
        "VAE.init",  # Pyro's modules are initialised when they are made
        "VAE.model",  # modules in Pyro, methods here
        "VAE.guide",
        "UnitGrid.__call__",
        "UnitGrid.eq",  # the host's interface of a constraint
        "UnitGrid.feasible_like",
        "UnitGrid.tree_flatten",
        "evaluating_nets",  # torch's modules have modes of their own
        "one_state",  # torch's modules keep theirs
        "pair_shapes",  # Pyro's modules know their parameters
        "checked_arguments",
        "trace_enumerated",  # two runs that are compiled as one
        "float_params",  # parameters of a Pyro module know if they can be trained
        "as_floats",
        "Data.arrays",  # steps are compiled
        "Data.of_one_size",
        "Data.orders",
        "Steps.several",
        "scale_of",  # what XLA computes twice
        "first_not_finite",  # a private method in Pyro
        "Data.ready",
        "Steps.size_of",
        "begin",  # Pyro has the first weights in modules
        "Steps.in_order",
        "Steps.settle",  # losses that are still computed
        "Steps.values",
        "Data.rows",
        "count_data",  # `total` is given before the first step is compiled
        "like",  # the structure of a state is no part of a file
        "state_params",
        "counts_entropy_without_zero",  # Pyro has no hurdle distributions
    },
}

# Signatures that differ for a reason.
HOST_SIGNATURES = {
    "apply_net",  # torch's modules hold their parameters
    # Pyro's multinomial densities take the number of trials from the value.
    "clear_state",  # an optimiser of torch holds its state, one of JAX is given it
    "closed_entropy",
    "counts_entropy",
    "counts_mean_log_base_measure",
    "mean_log_base_measure",
    "trace_pair",  # Pyro bounds the dimensions of plates
    "Data",  # batches of torch are brought to the parameters' device
    "Data.ordered",  # and of JAX to a shape that is compiled
    "InOrder",
    "fit_seeds",  # Pyro's modules hold their parameters, and are made anew for each seed
    "Steps",  # NumPyro's state and keys are arguments
    "Site",  # Pyro keeps masks beside the distribution, NumPyro the path of a draw
    "check_data",  # a Pyro module knows its data_shape and its float type
    "enumerating",  # in NumPyro traces need a key and parameters
    "summing_out",  # the same
    "UnitNormLinear",  # torch's and Linen's linear layers
    "VAE.prior",  # properties in Pyro, fields of a frozen dataclass in NumPyro
    "VAE.encoder",
    "VAE.decoder",
}


def files(package):
    return {str(path.relative_to(package)) for path in package.rglob("*.py")}


def arguments(function):
    """The names of the arguments, without those of the host; keyword-only ones after a `*`."""
    a = function.args
    plain = [arg.arg for arg in (*a.posonlyargs, *a.args) if arg.arg != "self"]
    names = [*plain, "*", *(arg.arg for arg in a.kwonlyargs)]
    return [name for name in names if name not in HOST_ARGUMENTS]


def fields(class_):
    """The arguments of a dataclass's constructor."""
    declared = [
        n
        for n in class_.body
        if isinstance(n, ast.AnnAssign) and not ast.unparse(n.annotation).startswith("ClassVar")
    ]
    if not declared:
        return []
    if any(ast.unparse(base) == "Decoder" for base in class_.bases):
        declared = [ast.parse("net: Any").body[0], *declared]
    names = [n.target.id for n in declared if n.target.id not in HOST_ARGUMENTS]
    plain = names[: names.index("_")] if "_" in names else names
    keyword = [n.target.id for n in declared if "kw_only=True" in ast.unparse(n)]
    return [*(n for n in plain if n not in keyword), "*", *keyword, *names[len(plain) + 1 :]]


def is_dataclass(class_):
    return any("dataclass" in ast.dump(d) for d in class_.decorator_list) or any(
        ast.unparse(base) in {"nn.Module", "NamedTuple"} for base in class_.bases
    )


def signatures(path):
    """Each public name of a file and the arguments it takes."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = arguments(node)
        elif isinstance(node, ast.ClassDef):
            methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
            if "__init__" in methods:
                found[node.name] = arguments(methods["__init__"])
            elif is_dataclass(node):
                found[node.name] = fields(node)
            else:
                found[node.name] = []
            # What a part is called with: `forward` in torch, `__call__` in NumPyro.
            methods = {
                "__call__" if name == "forward" else name: method
                for name, method in methods.items()
                if not name.startswith("_") or name == "__call__"
            }
            for name, method in methods.items():
                found[f"{node.name}.{name}"] = arguments(method)
    return {
        name: args
        for name, args in found.items()
        if not any(part.startswith("_") and part != "__call__" for part in name.split("."))
    }


SHARED = sorted(files(PYRO) & files(NUMPYRO))


def test_the_same_files():
    assert files(PYRO) - ONLY_FILES["pyro"] == files(NUMPYRO) - ONLY_FILES["numpyro"]


@pytest.mark.parametrize("file", SHARED)
def test_the_same_names_and_arguments(file):
    left, right = signatures(PYRO / file), signatures(NUMPYRO / file)
    left_names = left.keys() - HOST_NAMES["pyro"]
    right_names = right.keys() - HOST_NAMES["numpyro"]
    properties = {name for name in left_names - right_names if name in HOST_SIGNATURES}
    assert left_names - properties == right_names
    for name in right_names - HOST_SIGNATURES:
        assert left[name] == right[name], name


@pytest.mark.parametrize("file", SHARED)
def test_classes_and_modules_have_the_same_first_sentence(file):
    def sentences(package):
        tree = ast.parse((package / file).read_text())
        nodes = [tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))]
        return [
            (ast.get_docstring(node) or "")
            .split("\n")[0]
            .replace("NumPyro", "Pyro")
            .replace("numpyro", "pyro")
            for node in nodes
            if not getattr(node, "name", "").startswith("_")
            and getattr(node, "name", "") not in HOST_NAMES["pyro"] | HOST_NAMES["numpyro"]
        ]

    left, right = sentences(PYRO), sentences(NUMPYRO)
    assert [s.replace("modules", "callables") for s in left] == [
        s.replace("modules", "callables") for s in right
    ]


def test_the_same_public_names():
    import numpyro_entropy
    import pyro_entropy

    own = {"CapturedLoss", "CapturedSVI", "Captures", "Distributed_ELBO"}
    shared = [name for name in pyro_entropy.__all__ if name not in own]
    assert shared == numpyro_entropy.__all__


def test_every_exception_is_needed():
    """An exception that no name uses any more is taken off the list."""
    for package, backend in ((PYRO, "pyro"), (NUMPYRO, "numpyro")):
        names = set().union(*(signatures(package / file) for file in SHARED))
        assert HOST_NAMES[backend] <= names
