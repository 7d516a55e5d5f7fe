"""Numbers as a person reads them."""


def short(value: float) -> str:
    """Two digits, or all before the point of larger ones.

    Example:
        >>> short(0.0123), short(99.4), short(99.5), short(123456.0)
        ('0.012', '99', '100', '123,456')
    """
    # To two digits 99.5 would be 1e+02.
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.2g}"
