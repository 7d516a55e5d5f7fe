"""The series of `log(sinh(u) / u)`, whose derivative is Langevin's function `coth(u) - 1 / u`.

    log(sinh(u) / u) = sum_n 2^(2n - 1) B_2n / (n (2n)!) u^(2n)

with the Bernoulli numbers `B`. The closed form loses its digits near zero; below `SERIES_BELOW` the
terms here are exact to the last digit of float64.
"""

from math import factorial

SERIES_BELOW = 0.25

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)

SERIES = tuple(
    2 ** (2 * n - 1) * b / (n * factorial(2 * n)) for n, b in enumerate(_BERNOULLI, start=1)
)
