"""The door to comparisons: one request to several backends, one sheet of what they made."""

from imagen.compare.plan import plan_comparison
from imagen.compare.record import Axis, Cell, CellFailure, Comparison, File
from imagen.compare.run import compare

__all__ = [
    "Axis",
    "Cell",
    "CellFailure",
    "Comparison",
    "File",
    "compare",
    "plan_comparison",
]
