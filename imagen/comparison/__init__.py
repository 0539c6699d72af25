"""The door to comparisons: one request to several backends, one sheet of what they made."""

from imagen.comparison.loop import compare, plan_comparison
from imagen.comparison.plan import PlannedCell
from imagen.comparison.record import Axis, Cell, Comparison, Failure, File

__all__ = [
    "Axis",
    "Cell",
    "Comparison",
    "Failure",
    "File",
    "PlannedCell",
    "compare",
    "plan_comparison",
]
