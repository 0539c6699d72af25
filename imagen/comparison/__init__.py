"""Comparisons: one request on several backends, and one sheet of the images."""

from imagen.comparison.axes import Axis
from imagen.comparison.plan import default_folder, plan_comparison
from imagen.comparison.record import CellFailure, CellImage, Comparison, ComparisonCell
from imagen.comparison.run import compare

__all__ = [
    "Axis",
    "CellFailure",
    "CellImage",
    "Comparison",
    "ComparisonCell",
    "compare",
    "default_folder",
    "plan_comparison",
]
