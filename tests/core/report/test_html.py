"""What the page of a report shows, that it stands alone, and that it is never half written."""

import base64
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot as plt

from entropy_core.figures import training as plots
from entropy_core.report import html

VOID = {"meta", "img", "source"}
NASTY = "a<b>&\"c'"


class Page(HTMLParser):
    """The tags, attributes and text of a page; refuses tags that do not match."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attrs, self.text, self._open = [], [], "", []
        self.rows, self._cells = [], []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attrs += attrs
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self._cells = []
        if tag in {"td", "th"}:
            self._cells.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "tr":
            self.rows.append(self._cells)

    def handle_data(self, data):
        self.text += data
        if self._open and self._open[-1] in {"td", "th"}:
            self._cells[-1] += data


@pytest.fixture(name="report", scope="module")
def _report(train_report):
    return train_report([50.0, 10.0, 3.0], observed=NASTY, untreated=[("<u>", "no & never")])


@pytest.fixture(name="source", scope="module")
def _source(report):
    return html.render_page(report)


def test_page_has_every_number_of_every_table(report, source):
    rows = Page(source).rows
    for table in (report.summary(), report.sites(), report.latents()):
        for label, values in table.iterrows():
            (cells,) = [row[1:] for row in rows if row[0] == label and len(row) == 1 + len(values)]
            for value, cell in zip(values, cells, strict=True):
                if isinstance(value, float) and np.isnan(value):
                    assert cell == "–"
                elif isinstance(value, float):
                    # Four decimals, or two digits of a small number.
                    near = 5e-5 if abs(value) >= 1e-3 else 0.05 * abs(value)
                    assert float(cell) == pytest.approx(value, rel=0, abs=near)
                elif isinstance(value, str) or type(value) is int:
                    assert cell == str(value)
                else:
                    assert cell == ("yes" if value else "no")


def test_page_says_what_was_compared_and_the_headline(report, source):
    text = Page(source).text
    assert "4 data points with 2 draws each by numpy" in text
    assert "in nats per data point" in text
    for value in (report["elbo"], report["entropy_sum"], report["gap"], 100 * report.relative_gap):
        assert f"{value:.4f}" in text
    assert report.to_datatree().attrs["inference_library_version"] in text
    assert report.to_datatree().attrs["created_at"][:10] in text


def test_one_draw_is_singular_and_has_no_error(make_report):
    page = Page(html.render_page(make_report(num_particles=1)))
    assert "with 1 draw each" in page.text
    assert ["ELBO", f"{make_report(num_particles=1)['elbo']:.4f}", "–"] in page.rows


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0000"), (2e-8, "2.0e-08"), (-3e-4, "-3.0e-04"), (12.0, "12.0000")]
)
def test_small_numbers_keep_their_digits(make_report, value, text):
    row = f'<th scope="row">encoder entropy</th><td>{text}</td>'
    assert row in make_report([value])._repr_html_()


def test_names_and_reasons_are_escaped(source):
    assert NASTY not in source
    assert "<u>" not in source
    text = Page(source).text
    assert NASTY in text
    assert "<u>: no & never" in text


def test_page_and_fragment_make_no_claim_where_there_is_a_reason(make_report):
    claim = "the sum of entropies that it becomes at a stationary point of training (Damm et al."
    report = make_report()
    for source in (html.render_page(report), html.fragment(report)):
        assert claim in Page(source).text
        assert "No claim" not in source
    report = report.with_no_claim("free <bits>")
    for source in (html.render_page(report), html.fragment(report)):
        text = Page(source).text
        assert "becomes" not in text
        assert "beside the sum of entropies: estimated from 4 data points" in text
        assert "No claim is made of the gap" in text
        assert "(free <bits>): the theorem says nothing of this optimum." in text
        # Right below the gap.
        assert text.index("gap in % of ELBO") < text.index("No claim") < text.index("prior term")


def test_page_stands_alone(source):
    page = Page(source)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert "://" not in source
    assert "@import" not in source
    assert "url(" not in source
    for name, value in page.attrs:
        assert not name.startswith("on")
        if name in {"src", "srcset", "href"}:
            assert value.startswith("data:image/svg+xml;base64,")


def test_page_is_made_for_phones_and_both_schemes(source):
    assert '<meta name="viewport" content="width=device-width' in source
    assert "prefers-color-scheme: dark" in source
    assert source.count('<div class="scroll"><table>') == 3


def test_figures_are_svg_for_both_schemes(source):
    images = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", source)
    svgs = [base64.b64decode(image).decode() for image in images]
    assert len(svgs) == len(set(svgs)) == 6
    assert all(svg.startswith("<?xml") and svg.rstrip().endswith("</svg>") for svg in svgs)


def test_figures_are_those_that_the_report_has_data_for(make_report):
    assert Page(html.render_page(make_report())).tags.count("figure") == 2
    page = Page(html.render_page(make_report([])))
    assert page.tags.count("figure") == 1
    assert "Latents" not in page.text


def test_numbers_of_latents_have_a_figure_where_they_change(report):
    captions = "Latents whose mean moves with the data"
    history = report.to_datatree()["history"].dataset
    assert captions not in html.render_page(report)
    moved = history["active_latents"].copy()
    moved[0] += 1
    changed = report.with_history(history.assign(active_latents=moved))
    assert captions in html.render_page(changed)
    assert captions not in html.render_page(report.with_history(history.drop_vars(moved.name)))


def test_page_and_print_have_every_finding(report, source):
    found = report.findings()
    assert len(found) > 3
    text = Page(source).text
    printed = " ".join(str(report).split())
    for finding in found:
        assert finding in text
        assert f"- {finding}" in printed
    # Before the tables, after the headline.
    assert text.index("gap in % of ELBO") < text.index("Findings") < text.index("prior term")


def test_page_needs_no_arviz_plots(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz_plots", None)
    page = Page(html.render_page(report))
    assert "figure" not in page.tags
    assert any(row[0] == "ELBO" for row in page.rows)


def test_figures_leave_no_state_and_need_no_display(report, source, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a window")

    monkeypatch.setattr(plt, "new_figure_manager", fail)
    monkeypatch.setitem(plt.rcParams, "lines.linewidth", 7.0)
    # Other tests may have left figures of theirs.
    before, figures = dict(plt.rcParams), plt.get_fignums()
    assert html.render_page(report) == source
    assert plt.get_fignums() == figures
    assert dict(plt.rcParams) == before


def test_many_latents_fold(make_report, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz_plots", None)
    assert "details" not in Page(html.render_page(make_report())).tags
    assert "25 rows" in Page(html.render_page(make_report([0.1] * 25))).text


def test_notebooks_get_a_fragment(report):
    source = report._repr_html_()
    page = Page(source)
    assert not {"html", "head", "body", "style", "figure", "img"} & set(page.tags)
    assert {row[0] for row in page.rows} >= set(report.summary().index)
    assert NASTY not in source


def test_file_is_the_page_in_utf8(report, source, tmp_path):
    path = tmp_path / "report.html"
    report.to_html(path)
    assert path.read_text(encoding="utf-8") == source
    assert "–" in source


def test_failure_leaves_the_old_file(report, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*args, **kwargs):
        raise RuntimeError("no figure")

    monkeypatch.setattr(plots, "plot_latents", fail)
    with pytest.raises(RuntimeError, match="no figure"):
        report.to_html(path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"
