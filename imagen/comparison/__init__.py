"""The door to comparisons: one request to several backends, one sheet of what they made."""

from imagen.comparison.loop import compare
from imagen.comparison.plan import plan_comparison
from imagen.comparison.record import Axis, Cell, Comparison, Failure, File

__all__ = [
    "Axis",
    "Cell",
    "Comparison",
    "Failure",
    "File",
    "compare",
    "plan_comparison",
]
