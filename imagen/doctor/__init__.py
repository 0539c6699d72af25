"""The door to what is wrong: with the configuration alone, or with all that imagen needs."""

from imagen.doctor.examination import examine
from imagen.doctor.findings import Finding
from imagen.doctor.validation import Report, block_problems, report, unset

__all__ = ["Finding", "Report", "block_problems", "examine", "report", "unset"]
