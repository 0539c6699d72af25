"""The door to comparisons: one request to several backends, one sheet of what they made."""

from imagen.comparison.plan import plan_comparison
from imagen.comparison.record import Axis, Cell, CellFailure, Comparison, File
from imagen.comparison.run import compare

__all__ = [
    "Axis",
    "Cell",
    "CellFailure",
    "Comparison",
    "File",
    "compare",
    "plan_comparison",
]
