"""Reports that must be one and the same, however the data were cut, ordered or merged."""

import numpy as np
from numpy.testing import assert_allclose

# Sums in another order.
RELATIVE = 1e-9


def assert_same_report(report, other):
    """All numbers and words, in whichever order the rows are."""
    assert_frames(report.summary(), other.summary())
    assert_frames(report.sites(), other.sites())
    assert_frames(report.latents(), other.latents())
    for name in ("untreated", "left_out", "size", "units"):
        assert getattr(report, name) == getattr(other, name), name
    ignored = {"created_at", "untreated", "left_out"}
    left, right = ({k: v for k, v in r.attrs.items() if k not in ignored} for r in (report, other))
    assert left == right


def assert_frames(frame, other):
    assert set(frame.index) == set(other.index)
    assert list(frame.columns) == list(other.columns)
    other = other.loc[frame.index]
    for name in frame.columns:
        left, right = frame[name].to_numpy(), other[name].to_numpy()
        if np.issubdtype(left.dtype, np.floating):
            assert_allclose(left, right, rtol=RELATIVE, atol=1e-12, err_msg=name)
        else:
            assert list(left) == list(right), name
