"""Directions by least squares, the verdicts that follow, and how a report tells them."""

import numpy as np
import pytest

from entropy_core.report import EntropyReport
from entropy_core.results.evidence import BatchEvidence, MeanEvidence
from entropy_core.theory.claims import Evidence, SiteClaim, explain, find_directions
from entropy_core.theory.directions import Direction, Jacobian, sampled_rows, search
from entropy_core.theory.linearised import Linearised, stacked
from entropy_core.theory.verdicts import NOISE
from entropy_core.traces.records import Plate
from tests.core.report.test_report import report

RNG = np.random.default_rng(0)
ARRAYS = {
    "scale": np.array(0.3),
    "bias": RNG.standard_normal(4),
    "weight": RNG.standard_normal((4, 3)),
}
NUM_PARAMS, NUM_ROWS = 17, 100
# Where each array begins among the parameters.
BIAS, WEIGHT = 1, 5


def jacobian_of(matrix):
    """Rows that are linear in the parameters."""
    return Jacobian(
        lambda columns: matrix @ columns,
        lambda weights: matrix.T @ weights,
        lambda direction: np.zeros(len(matrix)),
        len(matrix),
    )


MATRIX = RNG.standard_normal((NUM_ROWS, NUM_PARAMS))


def flat():
    return np.concatenate([array.ravel() for array in ARRAYS.values()])


def column_scaling():
    beta = np.zeros((4, 3))
    beta[:, 1] = ARRAYS["weight"][:, 1]
    return np.concatenate([np.zeros(WEIGHT), beta.ravel()])


DIRECTIONS = {
    "a scalar": np.eye(NUM_PARAMS)[0],
    "the scaling of an array": np.where(np.arange(NUM_PARAMS) >= WEIGHT, flat(), 0.0),
    "a shift of half a vector": np.isin(np.arange(NUM_PARAMS), [BIAS, BIAS + 1]).astype(float),
    "an entry of a vector": np.eye(NUM_PARAMS)[BIAS + 2],
    "the scaling of a column": column_scaling(),
    "anything": RNG.standard_normal(NUM_PARAMS),
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_direction_that_exists_is_found(name):
    wanted = Direction(("x",), MATRIX @ DIRECTIONS[name])
    search(jacobian_of(MATRIX), ARRAYS, [wanted], solved=1e-8)
    assert wanted.misfit < 1e-8
    np.testing.assert_allclose(wanted.beta, DIRECTIONS[name], atol=1e-6)


def test_one_that_does_not_exist_is_not():
    wanted = Direction(("x",), RNG.standard_normal(NUM_ROWS))
    search(jacobian_of(MATRIX), ARRAYS, [wanted], solved=1e-8)
    assert 0.5 < wanted.misfit < 1


@pytest.mark.parametrize("name", list(DIRECTIONS)[:3])
def test_simple_ones_are_found_where_a_search_over_all_parameters_is_left_out(name):
    few = MATRIX[:20]
    wanted = Direction(("x",), few @ DIRECTIONS[name])
    search(jacobian_of(few), ARRAYS, [wanted], solved=1e-8)
    assert wanted.misfit < 1e-8
    np.testing.assert_allclose(wanted.beta, DIRECTIONS[name], atol=1e-6)


def test_where_any_target_could_be_reached_nothing_is_searched():
    # Fewer than twice as many rows as directions.
    few = MATRIX[:8]
    wanted = Direction(("x",), RNG.standard_normal(8))
    search(jacobian_of(few), ARRAYS, [wanted], solved=1e-8)
    assert wanted.misfit > 0.01
    assert not wanted.is_complete


def test_where_all_was_searched_there_is_none():
    wanted = Direction(("x",), RNG.standard_normal(NUM_ROWS))
    search(jacobian_of(MATRIX), ARRAYS, [wanted], solved=1e-8)
    assert wanted.is_complete


def test_sites_with_a_direction_together_are_not_searched_alone():
    rows = np.repeat([[1.0], [0.0]], 50, axis=0)
    calls = []

    def jvp(columns):
        calls.append(columns.shape[1])
        return np.ones((100, 1)) * columns[:1]

    wanted = [Direction(("a",), rows[:, 0]), Direction(("b",), 1 - rows[:, 0])]
    together = Direction(("a", "b"), np.ones(100))
    jacobian = jacobian_of(np.eye(100, NUM_PARAMS))._replace(jvp=jvp)
    search(jacobian, ARRAYS, [*wanted, together], solved=1e-8)
    assert together.misfit < 1e-8 < wanted[0].misfit
    assert len(calls) == 1


def test_large_distributions_are_sampled():
    assert len(sampled_rows(100)) == 100
    rows = sampled_rows(10**6)
    assert len(rows) == len(np.unique(rows)) < 10**4
    assert rows.max() < 10**6


def verdicts(*draws, measures=None, untreated=None):
    """Two sites, each scaled by a parameter of its own; the third by none.

    A draw is a pair: the residuals and the gradient.
    """
    matrix = np.zeros((30, 3))
    matrix[:10, 0] = matrix[10:20, 1] = 1.0
    natural = {name: np.zeros(30) for name in "abc"}
    natural["a"][:10], natural["b"][10:20], natural["c"][20:] = 1.0, 1.0, 1.0
    at = Linearised(
        list("abc"), {n: np.array(1.0) for n in "pqr"}, jacobian_of(matrix), natural, {}, {}, {}
    )
    evidence = [
        Evidence(
            np.array(gradient),
            {name: r for name, r in zip("abc", residuals, strict=True) if r is not None},
            measures or {},
            untreated or {},
        )
        for residuals, gradient in draws
    ]
    found = find_directions(at, solved=1e-8)
    return explain(at, found, evidence, tolerance=1e-3)


def twice(*draw):
    """What is in closed form is the same in each draw."""
    return draw, draw


def test_verdicts():
    holds, moving, none = verdicts(*twice([0.0, 0.5, 0.2], [0.0, 0.5, 0.0]))
    assert (holds.verdict, moving.verdict, none.verdict) == ("holds", "not converged", "no claim")
    assert moving.gradient_part == pytest.approx(0.5)
    assert none.rest == pytest.approx(0.2)
    assert np.isnan(none.misfit)
    # A residual that the gradient does not explain.
    _, odd, _ = verdicts(*twice([0.0, 0.5, 0.2], [0.0, 0.1, 0.0]))
    assert odd.verdict == "no claim"
    assert odd.rest == pytest.approx(0.4)
    # A base measure stays at a stationary point, and before it there is a gradient.
    _, counts, _ = verdicts(*twice([0.0, 0.4, 0.2], [0.0, 0.0, 0.0]), measures={"b": 0.4})
    assert counts.verdict == "no claim"
    assert "base measure" in counts.reason
    _, counts, _ = verdicts(*twice([0.0, 0.5, 0.2], [0.0, 0.1, 0.0]), measures={"b": 0.4})
    assert counts.verdict == "not converged"


def test_sites_that_no_draw_has_are_not_called_left_out():
    """The rows of a plate that goes through them one after another are other ones in each draw."""
    a, b, c = verdicts(([0.0, 0.1, None], [0.0, 0.1, 0.0]))
    assert {a.reason, b.reason, c.reason} == {"some draws lack c"}
    assert {a.verdict, b.verdict, c.verdict} == {"no claim"}


def test_noise_decides_nothing():
    noise = np.array([0.3, -0.2, 0.1, -0.1])
    draws = [([n, 0.5 + n, 0.2], [n, 0.5 + n, 0.0]) for n in noise]
    unknown, moving, none = verdicts(*draws)
    assert [c.verdict for c in (unknown, moving, none)] == [
        "not decided",
        "not decided",
        "no claim",
    ]
    assert unknown.residual == pytest.approx(noise.mean())
    assert unknown.mcse == pytest.approx(noise.std(ddof=1) / 2)
    assert none.mcse == 0
    alone, *_ = verdicts(draws[0])
    assert alone.verdict == "not decided"
    assert np.isnan(alone.mcse)
    # Five times as many tell.
    _, moving, _ = verdicts(*draws * 5)
    assert moving.verdict == "not converged"
    few, *_ = verdicts(*[([1e-3 * n, 0.0, 0.0], [1e-3 * n, 0.0, 0.0]) for n in noise])
    assert few.verdict == "not decided"
    many, *_ = verdicts(*[([1e-3 * n, 0.0, 0.0], [1e-3 * n, 0.0, 0.0]) for n in noise] * 5)
    assert many.verdict == "holds"


def test_without_all_sites_there_is_no_claim():
    claims = verdicts(([0.0, None, 0.2], np.zeros(3)), untreated={"b": "why not"})
    assert {claim.verdict for claim in claims} == {"no claim"}
    a, b, _ = claims
    assert a.reason == "the ELBO leaves out b"
    assert b.reason == "why not"
    assert np.isnan(b.residual)


def test_batches_count_by_their_data_points():
    def batch(size, gradient, residual, measure):
        plate = Plate("data", -1, size, size)
        parts = [{"a": np.array([value, 0.0])} for value in (residual, measure)]
        return BatchEvidence({"p": np.array([[gradient], [0.0]])}, *parts, (), ("p",), plate)

    evidence = MeanEvidence()
    evidence.add([batch(3, 1.0, 1.0, 0.0)])
    evidence.add([batch(1, 5.0, 3.0, 2.0)])
    (mean,) = evidence.draws({"p": np.zeros(1)})
    np.testing.assert_allclose(mean.gradient, [2.0])
    assert mean.residuals == {"a": 1.5}
    assert mean.base_measures == {"a": 0.5}


@pytest.mark.parametrize("full_size", [None, 50])
def test_what_is_outside_the_data_plate_counts_once(full_size):
    """However many batches there are; what a batch lacks adds nothing."""
    evidence = MeanEvidence()
    for size, names in ((6, "ab"), (2, "a"), (2, "b")):
        plate = Plate("data", -1, size, full_size or size)
        residuals = {"a": np.array([3.0, 0.0]), "b": np.array([0.0, 7.0])}
        found = {name: residuals[name] for name in names}
        gradient = {"p": np.array([[1.0], [20.0]])} | ({"q": np.ones((2, 2))} if size == 6 else {})
        evidence.add([BatchEvidence(gradient, found, {}, (), tuple(gradient), plate)])
    (mean,) = evidence.draws({"q": np.zeros(2), "p": np.zeros(1)})
    num = full_size or 10
    assert mean.residuals == pytest.approx({"a": 3 * 8 / 10, "b": 7 * 8 / 10 / num})
    q = (6 + 6 / num) / 10
    np.testing.assert_allclose(mean.gradient, [q, q, 1 + 20 / num])


def test_evidence_without_a_data_plate_is_of_one_batch():
    evidence = MeanEvidence()
    evidence.add([BatchEvidence({}, {"a": np.array([2.0, 0.0])}, {}, (), (), None)])
    (mean,) = evidence.draws({"p": np.zeros(1)})
    assert mean.residuals == {"a": 2.0}
    with pytest.raises(ValueError, match=r"one batch of all the data, .* for `batches`"):
        evidence.add([BatchEvidence({}, {}, {}, (), (), None)])
    with pytest.raises(ValueError, match="expected at least one batch for `batches`; got none"):
        MeanEvidence().draws({})


def test_stacked_batches_are_one_system():
    """A direction has to do in every batch what its site asks for, whatever names each has."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((8, 3)), rng.standard_normal((6, 2))
    first = Linearised(
        ["a", "b"],
        {"p": np.ones(2), "q": np.array(1.0)},
        jacobian_of(left),
        {"a": left[:, 0], "b": left[:, 1]},
        {"b": (left[:, 2], 2.0)},
        {},
        {"a": 3, "b": 5},
    )
    second = Linearised(
        ["b", "c"],
        {"q": np.array(1.0), "r": np.array(1.0)},
        jacobian_of(right),
        {"c": right[:, 1]},
        {"b": (right[:, 0], 2.0), "c": (right[:, 0], 1.0)},
        {"b": "why"},
        {"b": 2, "c": 4},
    )
    whole = stacked([first, second])
    matrix = np.zeros((14, 4))
    matrix[:8, :3], matrix[8:, 2:] = left, right
    direction, weights = rng.standard_normal(4), rng.standard_normal(14)
    np.testing.assert_allclose(whole.jacobian.jvp(direction[:, None])[:, 0], matrix @ direction)
    assert len(whole.jacobian.second(direction)) == 14
    assert whole.num_rows == {"a": 3, "b": 7, "c": 4}
    np.testing.assert_allclose(whole.jacobian.vjp(weights), matrix.T @ weights)
    assert (whole.sites, list(whole.arrays), whole.reasons) == (
        ["a", "b", "c"],
        ["p", "q", "r"],
        {"b": "why"},
    )
    # Natural parameters that a batch does not know are not zero there.
    assert whole.natural.keys() == {"a", "c"}
    np.testing.assert_allclose(whole.natural["a"], np.append(left[:, 0], np.zeros(6)))
    np.testing.assert_allclose(whole.natural["c"], np.append(np.zeros(8), right[:, 1]))
    rows, power = whole.rescaling["b"]
    np.testing.assert_allclose(rows, np.append(left[:, 2], right[:, 0]))
    assert power == 2.0
    assert stacked([first]) is first


def test_sites_that_share_a_parameter():
    matrix = np.zeros((20, 2))
    matrix[:, 0] = 1.0
    natural = {"a": np.repeat([1.0, 0.0], 10), "b": np.repeat([0.0, 1.0], 10)}
    arrays = {name: np.array(1.0) for name in "pq"}
    at = Linearised(["a", "b"], arrays, jacobian_of(matrix), natural, {}, {}, {})
    evidence = Evidence(np.zeros(2), {"a": 0.9, "b": -0.9}, {}, {})
    found = find_directions(at, solved=1e-8)
    (claim,) = explain(at, found, [evidence] * 2, tolerance=1e-3)
    assert claim.sites == ("a", "b")
    assert claim.verdict == "holds"
    assert claim.residual == 0


CLAIMS = [
    SiteClaim(("z",), 1e-5, 1e-6, 1e-5, 0.0, 0.0, 1e-15, "holds", "all is zero"),
    SiteClaim(("x",), 0.5, 0.1, 0.5, 0.0, 0.0, 1e-15, "not converged", "a gradient"),
    SiteClaim(("v", "w"), 0.1, np.nan, 0.0, 0.1, 0.0, np.nan, "no claim", "no parameter to scale"),
    SiteClaim(("u",), 0.01, 0.02, 0.01, 0.0, 0.0, 0.0, "not decided", NOISE, 120.0, 10),
]


def test_a_report_tells_the_claims(tmp_path):
    made = report().with_claims(CLAIMS)
    table = made.claims()
    assert list(table.index) == ["z", "x", "v, w", "u"]
    assert list(table["verdict"]) == ["holds", "not converged", "no claim", "not decided"]
    text = " ".join(str(made).replace("\n  ", " ").split())
    assert "The residual of 'z' is zero within 0.001 nats." in text
    assert "'x' has not converged (residual 0.50 ± 0.10 nats): the ELBO of these data still" in text
    assert (
        "The theorem makes no claim for 'v', 'w' (residual 0.1 nats): no parameter to scale."
        in text
    )
    assert "Whether the theorem's claim holds for 'u' (residual 0.010 ± 0.020 nats) is not" in text
    assert "the draws do not tell; about 120 draws for each data point would." in text
    assert (
        "claims zero is below 0.001 nats per data point; 10 draws, joint error level 0.27 %" in text
    )
    made.to_html(tmp_path / "report.html")
    assert "What the theorem claims" in (tmp_path / "report.html").read_text(encoding="utf-8")
    made.save(tmp_path / "report.nc")
    assert EntropyReport.load(tmp_path / "report.nc").claims().equals(table)


def test_a_report_without_claims_says_so():
    with pytest.raises(ValueError, match="a report with claims"):
        report().claims()
