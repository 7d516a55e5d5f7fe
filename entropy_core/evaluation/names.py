"""Names of sites and plates as those of variables and dimensions that a netCDF file can have."""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from entropy_core.checks import expected

# Dimensions of ArviZ: of its groups, and of what `arviz_base.extract` makes of them.
ARVIZ_DIMS = frozenset({"chain", "draw", "sample"})

# What stands for the slash that `scope` handlers put between names, and a path in a tree means.
SCOPE = "::"


def plain(name: str) -> str:
    """A name that a variable in a tree of groups can have.

    Neither xarray nor netCDF takes a slash, a control character, or a name of nothing but dots.

    Example:
        >>> plain("trend/alpha"), plain("x")
        ('trend::alpha', 'x')
    """
    return re.sub(r"^\.{0,2}$|[\x00-\x1f\x7f]", "_", name.replace("/", SCOPE))


def variable_names(sites: Iterable[str]) -> dict[str, str]:
    """The variable of each site.

    Raises:
        ValueError: If two sites would become one variable.

    Example:
        >>> variable_names(["trend/alpha", "draw", "z"])
        {'trend/alpha': 'trend::alpha', 'draw': 'draw_site', 'z': 'z'}
    """
    return _distinct({site: _beside(plain(site), "site", ARVIZ_DIMS) for site in sites})


def plate_dims(plates: Iterable[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The dimension of each plate: a dimension has the name of no variable.

    Args:
        plates: The names of the plates.
        variables: The variables of all sites.

    Raises:
        ValueError: If two plates would become one dimension.

    Example:
        >>> plate_dims(["data", "x"], {"x": "x"})
        {'data': 'data', 'x': 'x_plate'}
    """
    taken = ARVIZ_DIMS | set(variables.values())
    return _distinct({plate: _beside(plain(plate), "plate", taken) for plate in plates})


def own_dim(variable: str, number: int, taken: AbstractSet[str]) -> str:
    """The dimension of a variable that no plate names, as ArviZ numbers them.

    Args:
        variable: The variable.
        number: The number of the dimension among those.
        taken: Names that it must not have.

    Example:
        >>> own_dim("z", 0, set()), own_dim("z", 0, {"z_dim_0"})
        ('z_dim_0', 'z_dim_0_')
    """
    name = f"{variable}_dim_{number}"
    while name in taken:
        name += "_"
    return name


def _beside(name: str, kind: str, taken: AbstractSet[str]) -> str:
    while name in taken:
        name = f"{name}_{kind}"
    return name


def _distinct(names: dict[str, str]) -> dict[str, str]:
    by_name: dict[str, list[str]] = {}
    for name, plain_name in names.items():
        by_name.setdefault(plain_name, []).append(name)
    for plain_name, same in by_name.items():
        if len(same) > 1:
            what = "names that stay apart as names of variables"
            raise ValueError(expected(what, "model", f"{sorted(same)}, all '{plain_name}'"))
    return names
