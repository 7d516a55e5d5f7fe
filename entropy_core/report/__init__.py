"""Reports: what a diagnostic returns, in words, tables, figures and pages."""

from entropy_core.report.comparison import compare
from entropy_core.report.report import EntropyReport

__all__ = ["EntropyReport", "compare"]
