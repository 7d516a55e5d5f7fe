"""Numbers as a person reads them."""

from math import floor, isinf, log10


def short(value: float) -> str:
    """Two digits, or all before the point of larger ones.

    Example:
        >>> short(0.0123), short(99.4), short(99.5), short(123456.0)
        ('0.012', '99', '100', '123,456')
    """
    # To two digits 99.5 would be 1e+02.
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.2g}"


def with_error(value: float, error: float) -> str:
    """A number to the second digit of its standard error, and that error.

    Example:
        >>> with_error(34.4213, 0.1713), with_error(-1e-19, 2e-18), with_error(float("inf"), 1.0)
        ('34.42 ± 0.17', '0.000000 ± 0.000000', 'infinite')
    """
    if isinf(value):
        return "infinite"
    # Of less than a millionth of a nat nobody wants to know.
    digits = 6 if not error > 0 else min(max(1 - floor(log10(error)), 0), 6)
    return f"{round(value, digits) + 0.0:,.{digits}f} ± {error:,.{digits}f}"
