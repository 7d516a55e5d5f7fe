"""The rate of a code in a report: its table, print, page, file and figure."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from entropy_core.coding.general import general_compressors
from entropy_core.coding.rate import Rate
from entropy_core.report import EntropyReport

OTHERS = {"gzip": 1.5, "PNG, sheets": 0.25}


@pytest.fixture(name="plain", scope="module")
def _plain(make_report):
    return make_report()


@pytest.fixture(name="rate", scope="module")
def _rate(plain):
    num = plain.attrs["num_data"]
    return Rate(num, 8, 1, 14, 90, 64, 28.0 * num, 5.0 * num, 22.0 * num, 11 * num + 64,
                28.0 * num, 5.0 * num, 22.0 * num)  # fmt: skip


@pytest.fixture(name="report", scope="module")
def _report(plain, rate):
    return plain.with_rate(rate, OTHERS)


def test_the_table_has_parts_the_elbo_and_others(plain, report, rate):
    table = report.rate()
    bits = table["bits_per_point"]
    assert bits["code less seed"] == 11
    assert bits["data"] + bits["latents"] + bits["bits back"] + bits["rounding"] == 11
    assert bits["file"] == pytest.approx(11 + (64 + 90) / rate.num_points)
    assert bits["negative ELBO, other draws"] == pytest.approx(-plain["elbo"] / np.log(2))
    np.testing.assert_allclose(table["bits_per_dim"], bits / 8)
    assert table["bits_per_dim"]["gzip"] == 1.5
    assert table["mcse_per_dim"].notna().sum() == 1


def test_it_is_printed_and_on_the_page(report, tmp_path):
    assert "code          1.3750 bits a variable less seed" in str(report)
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "A code of the data" in page
    assert "PNG, sheets" in page


def test_files_keep_it(report, tmp_path):
    report.save(tmp_path / "report.nc")
    loaded = EntropyReport.load(tmp_path / "report.nc")
    assert loaded.rate().equals(report.rate())
    assert str(loaded) == str(report)


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_the_figure_has_a_bar_for_each(report, backend):
    mpl.use("agg")
    axes = report.plot(kind="rate", backend=backend).get_target(None, {"panel": "rate"})
    if backend == "matplotlib":
        widths = [bar.get_paths()[0].get_extents().x1 for bar in axes.collections]
        table = report.rate()["bits_per_dim"]
        np.testing.assert_allclose(widths, table[["code less seed", "file", *OTHERS]])
        mpl.pyplot.close("all")


def test_a_code_of_other_data_is_refused(plain, rate):
    with pytest.raises(ValueError, match="a report of 3 data points for `report`; got one of"):
        plain.with_rate(replace(rate, num_points=3))


def test_a_report_without_a_rate_says_so(plain):
    with pytest.raises(ValueError, match="a report with a rate"):
        plain.rate()
    with pytest.raises(ValueError, match="a report with a rate"):
        plain.plot(kind="rate")
    assert "code " not in str(plain)


@pytest.mark.parametrize(("levels", "bits", "num"), [(2, 1.0, 400), (256, 8.0, 100)])
def test_noise_is_what_no_compressor_makes_shorter(levels, bits, num):
    noise = np.random.default_rng(0).integers(levels, size=(num, 144))
    sizes = general_compressors(noise, (12, 12))
    assert {"gzip", "bz2", "xz", "PNG, one each", "PNG, sheets"} <= sizes.keys()
    assert min(sizes.values()) > 0.999 * bits
    assert max(sizes[name] for name in ("gzip", "xz")) < 1.01 * bits + 0.01
