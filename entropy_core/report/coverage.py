"""What the sums of a report are over: sites that no sum holds, sites that some batches lack."""

from collections.abc import Sequence

import pandas as pd

from entropy_core.results.data import ReportData

MAX_NAMES = 6
# So far from zero is no chance, in however many sites.
CHECK_ERRORS = 6.0


def on_missing_sites(report: ReportData) -> list[str]:
    """That the ELBO and the entropy sum are without some sites, in all data points or in some."""
    num_data, found = report.attrs["num_data"], []
    for names, count in _by_count(report.left_out):
        part = "" if count >= num_data else f"In {count:,} of {report.size} the "
        found.append(
            f"{part or 'The '}ELBO and the entropy sum are without {names}, which could not be "
            "treated."
        )
    return found


def on_parts_of_the_data(report: ReportData) -> list[str]:
    """That some batches lack a site, so that its values are means in which they count zero."""
    sites = report.sites()
    # Not every saved report has it.
    if "num_data" not in sites:
        return []
    counts: dict[str, int] = {}
    for in_guide, rows in sites.groupby(sites["role"].isin(("encoder", "guide factor"))):
        # A site may be observed in some batches and drawn in others.
        found = rows.groupby("site_name", sort=False)["num_data"].sum()
        pairs = [(str(name), int(count)) for name, count in found.items()]
        counts |= {name: c for name, c in pairs if not (in_guide and name in counts)}
    counts = {name: c for name, c in counts.items() if c < report.attrs["num_data"]}
    return [
        f"Only {count:,} of {report.size} {'has' if count == 1 else 'have'} {names}: in the means "
        "over all data the others count zero."
        for names, count in _by_count(counts)
    ]


def on_scales(report: ReportData) -> list[str]:
    """That `scale` handlers make another ELBO of what is trained, with both numbers."""
    sums, sites = report.group("entropy_sum"), report.sites()
    if sums is None or "scaled_elbo" not in sums:
        return []
    scaled = sites[sites["handler_scale"] != "1.0"]
    names = [
        f"'{site}' by {scale}" if "[" not in scale else f"'{site}'"
        for site, scale in dict(
            zip(scaled["site_name"], scaled["handler_scale"], strict=True)
        ).items()
    ]
    return [
        f"Handlers scale {listed(names)}: the ELBO under them, which a loss of the host has, is "
        f"{report['scaled_elbo']:.5g} {report.units}. This report is without them."
    ]


def on_checks(report: ReportData) -> list[str]:
    """That the closed form of a class of a user's own is not the entropy of its draws."""
    sites = report.sites()
    if "check" not in sites:
        return []
    # One draw does not tell its error.
    wrong = sites[sites["check"].abs() > CHECK_ERRORS * sites["check_mcse"]]
    return [
        f"The entropy of '{site['site_name']}' in closed form is not that of its own draws, which "
        f"differ from it by {site['check']:.3g} ± {site['check_mcse']:.1g} nats: its class has an "
        "`entropy`, or inherits one, that is not the one of its density. The entropy sum and the "
        "residual of the site are wrong by as much."
        for _, site in wrong.iterrows()
    ]


def listed(labels: Sequence[str] | pd.Index) -> str:
    """Names as a part of a sentence, the first few of many."""
    shown = ", ".join(labels[:MAX_NAMES])
    return shown if len(labels) <= MAX_NAMES else f"{shown} and {len(labels) - MAX_NAMES} more"


def _by_count(counts: dict[str, int]) -> list[tuple[str, int]]:
    return [
        (listed([f"'{name}'" for name, other in counts.items() if other == count]), int(count))
        for count in dict.fromkeys(counts.values())
    ]
