"""From a pair of traces to one record a sample site: the heart of objectives and reports.

Nothing here knows VAEs, nor a host: a `Reader` has the few functions that ask one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from entropy_core.checks import expected
from entropy_core.traces.enumeration import Enumeration
from entropy_core.traces.records import PARTICLES, Method, Role, SiteTerms
from entropy_core.traces.sites import BaseSite, Pair
from entropy_core.traces.sums import check_guide, check_sides, is_mean_field

Estimate = tuple[Any, Method]
Sites = Mapping[str, Any]

NO_ENTROPY: Estimate = (None, "none")


class Reader(NamedTuple):
    """What reading asks of a host.

    Args:
        closed_entropy: `H[q]` of a distribution in closed form, or `None`.
        cross_entropy: `E_q[log p]` in closed form from the guide's and the model's site, or `None`.
        path_entropy: The entropy of a guide's transformed distribution at its draw, or `None`.
        entropy: The entropy of a model's site and how it was got; the method `"none"` where it has
            no density, or no draws to estimate one.
        zeros_like: Zeros of the shape of an array.
        check: By how much fresh draws differ from the entropy of a site in closed form, where that
            can be wrong: of a class that is a user's own. `None` elsewhere.
        family: The name of a distribution's family, and the least and the largest scale of a normal
            or Laplace one, else `None`.
    """

    closed_entropy: Callable[[Any], Any]
    cross_entropy: Callable[[Any, Any], Any]
    path_entropy: Callable[[Any], Any]
    entropy: Callable[[Any], Estimate]
    zeros_like: Callable[[Any], Any]
    check: Callable[[Any], Any]
    family: Callable[[Any], tuple[str, Any]]


def read_sites(
    pair: Pair, reader: Reader, *, closed_form: bool = True, entropies: bool = True
) -> list[SiteTerms]:
    """Reads every sample site of a pair without enumerated sites; see `site_terms` of either side.

    Raises:
        ValueError: If the guide lacks a latent site of the model.
        NotImplementedError: If entropies are asked for, and a site of the model has none.
    """
    model, guide = pair.model, pair.guide
    check_sides(model, guide)
    check_guide({n: s for n, s in model.items() if not s.is_observed}, guide)
    records = [_guide_record(site, reader, closed_form) for site in guide.values()]
    for name, site in model.items():
        cross_entropy = _cross_entropy(name, model, guide, reader) if closed_form else None
        entropy = reader.entropy(site) if entropies and not site.is_factor else NO_ENTROPY
        if entropies and entropy[1] == "none" and not site.is_factor:
            raise NotImplementedError(expected("an entropy", "model", f"site '{name}', {site.fn}"))
        records.append(_model_record(site, reader, cross_entropy, entropy))
    return records


def read_all_sites(
    pair: Pair, guide: Sites, enumeration: Enumeration, reader: Reader, *, closed_form: bool = True
) -> Pair:
    """Reads the sites of any pair, and lists what no record or entropy is made of.

    Enumerated sites are averaged over: exactly, with the weights that `TraceEnum_ELBO` gives their
    values.

    Args:
        pair: The pair.
        guide: Its guide's sites, with auxiliary ones put into those that they stand for.
        enumeration: The weights of enumerated sites.
        reader: What reading asks of the host.
        closed_form: `False` takes every term at the draws.

    Returns:
        The pair with records and with pairs of a site and the reason why it has no record or no
        entropy. A site without an entropy adds to the ELBO, and nothing to the entropy sum.

    Raises:
        ValueError: If the guide lacks a latent site of the model that is not enumerated.
    """
    model = pair.model
    check_sides(model, guide)
    untreated: dict[str, str] = dict.fromkeys(pair.deterministic, "deterministic")
    untreated |= enumeration.untreated
    skipped = {*enumeration.marginalised, *enumeration.untreated}
    latent = {n: s for n, s in model.items() if not s.is_observed and n not in skipped}
    check_guide(latent, guide)

    # Where a Delta is no part of a joint draw, it is a point, and its entropy 0 by convention.
    points = {n for n, s in guide.items() if s.is_point and not joint_sites(guide, n)}
    records = []
    for name, site in guide.items():
        if name not in untreated:
            record = _guide_record(site, reader, closed_form, path=True)
            if name in points:
                record = replace(record, entropy_method="none", term_method="none")
            records.append(_averaged(_checked(record, site, reader), site, enumeration))
    for name, site in model.items():
        if name in untreated:
            continue
        cross_entropy = None
        if name in enumeration.marginalised:
            # In the sum over values the host applies no mask to the site itself.
            site = site.unmasked()
            records.append(_responsibilities(site, enumeration))
        elif closed_form and not enumeration.is_marginal(site.log_prob, site.places):
            cross_entropy = _cross_entropy(name, model, guide, reader)
        entropy = NO_ENTROPY if site.is_factor else reader.entropy(site)
        if entropy[1] == "none" and not site.is_factor:
            untreated[name] = "no entropy, and no draws to estimate one"
            entropy = reader.zeros_like(site.log_prob), "none"
        record = _model_record(site, reader, cross_entropy, entropy)
        records.append(_averaged(_checked(record, site, reader), site, enumeration))
    return pair.with_records(records, untreated=tuple(untreated.items()), enumeration=enumeration)


def joint_sites(guide: Sites, name: str) -> list[str]:
    """The auxiliary sites of a guide that a `Delta` in it may be made of, with other sites.

    They come before it. An auxiliary `Delta` is none of them, since it draws nothing, and a `Delta`
    at a parameter is made of none.

    Args:
        guide: The sites, in the order in which they are drawn.
        name: The site of the `Delta`.
    """
    if guide[name].at_param:
        return []
    names = list(guide)
    before = names[: names.index(name)]
    return [n for n in before if guide[n].is_auxiliary and not guide[n].is_point]


def _checked(record: SiteTerms, site: BaseSite, reader: Reader) -> SiteTerms:
    is_closed = record.entropy_method == "closed form" and not site.is_factor
    family, scale = reader.family(site.fn)
    check = reader.check(site) if is_closed else None
    return replace(record, check=check, family=family, scale=scale)


def _averaged(record: SiteTerms, site: BaseSite, enumeration: Enumeration) -> SiteTerms:
    means: dict[str, Any] = {
        name: enumeration.mean(getattr(record, name), site.places)
        for name in ("log_prob", "term", "entropy", "check")
        if getattr(record, name) is not None
    }
    num_elements, num_observed = site.count_elements(means["log_prob"].shape)
    return replace(record, **means, num_elements=num_elements, num_observed=num_observed)


def _responsibilities(site: BaseSite, enumeration: Enumeration) -> SiteTerms:
    # The site's posterior, which the guide leaves out: the weights stand for q, and their entropy
    # is an exact sum.
    entropy = enumeration.entropy(site.name)
    estimate: Estimate = (entropy, "closed form")
    return _averaged(_record(site, "encoder", -entropy, estimate, estimate), site, enumeration)


def _cross_entropy(name: str, model: Sites, guide: Sites, reader: Reader) -> Any:
    if model[name].is_observed or not is_mean_field(name, model, guide):
        return None
    return reader.cross_entropy(guide[name], model[name])


def _guide_record(
    site: BaseSite, reader: Reader, closed_form: bool, *, path: bool = False
) -> SiteTerms:
    log_prob = site.log_prob
    if site.is_factor or site.is_observed:
        return _factor_record(site, reader, "guide factor", log_prob, -log_prob)
    closed = reader.closed_entropy(site.fn) if closed_form else None
    along = reader.path_entropy(site) if path and closed_form and closed is None else None
    entropy = _first_of(site, closed, lambda: -log_prob if along is None else along)
    return _record(site, "encoder", log_prob, entropy, entropy)


def _model_record(
    site: BaseSite, reader: Reader, cross_entropy: Any, entropy: Estimate
) -> SiteTerms:
    log_prob = site.log_prob
    if site.is_factor:
        return _factor_record(site, reader, "factor", log_prob, log_prob)
    role: Role = "decoder" if site.is_observed else "prior"
    return _record(site, role, log_prob, _first_of(site, cross_entropy, lambda: log_prob), entropy)


def _factor_record(
    site: BaseSite, reader: Reader, role: Role, log_prob: Any, term: Any
) -> SiteTerms:
    # A factor is no distribution: it adds itself to the ELBO, and nothing to the entropy sum.
    entropy: Estimate = (reader.zeros_like(term), "none")
    return _record(site, role, log_prob, (term, "closed form"), entropy)


def _record(
    site: BaseSite, role: Role, log_prob: Any, term: Estimate, entropy: Estimate
) -> SiteTerms:
    subsampling = 1.0
    for plate in site.plates:
        if plate.name != PARTICLES:
            subsampling *= plate.full_size / plate.size
    return SiteTerms(
        name=site.name,
        role=role,
        log_prob=log_prob,
        term=term[0],
        entropy=entropy[0],
        term_method=term[1],
        entropy_method=entropy[1],
        plates=site.plates,
        handler_scale=site.scale / subsampling,
    )


def _first_of(site: BaseSite, closed: Any, sampled: Callable[[], Any]) -> Estimate:
    if closed is None:
        return site.spread(sampled()), "sampled"
    return site.spread(closed), "closed form"
