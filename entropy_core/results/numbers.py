"""Numbers as a person reads them."""


def short(value: float) -> str:
    """Two digits, without an exponent where they are not needed."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
