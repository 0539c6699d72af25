"""All that was ever made: kept in one SQLite file, or in PostgreSQL for several machines.

Whatever opens the library loads SQLAlchemy, which takes a while: it is loaded when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen.library.consistency import Report, check, forget_missing
    from imagen.library.database import Library, open_library
    from imagen.library.detail import paths_by_content, record_of
    from imagen.library.failing import FailedGeneration, Failures, failures, find_failure
    from imagen.library.import_files import AddedFiles, add_files
    from imagen.library.ledger import LedgerRow, SpentAmount, Total, spent, sum_totals, totals
    from imagen.library.particulars import Particulars, particulars_of
    from imagen.library.records import Delivery, GenerationRecord, StoredImage
    from imagen.library.search import (
        LibraryImage,
        Page,
        Query,
        count,
        find_picture,
        known,
        page,
        pictures_of,
    )
    from imagen.library.write import record_generation
else:
    _HOMES = {
        "import_files": "AddedFiles add_files",
        "consistency": "Report check forget_missing",
        "records": "Delivery GenerationRecord StoredImage",
        "failing": "FailedGeneration Failures failures find_failure",
        "ledger": "SpentAmount Total LedgerRow spent sum_totals totals",
        "database": "Library open_library",
        "particulars": "Particulars particulars_of",
        "search": "Page LibraryImage Query count find_picture known page pictures_of",
        "detail": "paths_by_content record_of",
        "write": "record_generation",
    }

    def __getattr__(name):
        from importlib import import_module

        for home, names in _HOMES.items():
            if name in names.split():
                return getattr(import_module(f"imagen.library.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AddedFiles",
    "Delivery",
    "FailedGeneration",
    "Failures",
    "GenerationRecord",
    "LedgerRow",
    "Library",
    "LibraryImage",
    "Page",
    "Particulars",
    "Query",
    "Report",
    "SpentAmount",
    "StoredImage",
    "Total",
    "add_files",
    "check",
    "count",
    "failures",
    "find_failure",
    "find_picture",
    "forget_missing",
    "known",
    "open_library",
    "page",
    "particulars_of",
    "paths_by_content",
    "pictures_of",
    "record_generation",
    "record_of",
    "spent",
    "sum_totals",
    "totals",
]
