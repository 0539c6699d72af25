"""All that was ever made: kept in one SQLite file, or in PostgreSQL for several machines.

Whatever opens the library loads SQLAlchemy, which takes a while: it is loaded when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen.library.consistency import Report, check, forget_missing
    from imagen.library.database import Library, open_library
    from imagen.library.detail import paths_by_content, record_of
    from imagen.library.failing import Failure, Failures, failures, find_failure
    from imagen.library.import_files import Added, add
    from imagen.library.ledger import Spent, Total, Use, spent, sum_totals, totals
    from imagen.library.particulars import Particulars, particulars_of
    from imagen.library.records import Delivery, Entry, Kept
    from imagen.library.search import (
        Page,
        Picture,
        Query,
        count,
        find_picture,
        known,
        page,
        pictures_of,
    )
    from imagen.library.write import take_in
else:
    _HOMES = {
        "import_files": "Added add",
        "consistency": "Report check forget_missing",
        "records": "Delivery Entry Kept",
        "failing": "Failure Failures failures find_failure",
        "ledger": "Spent Total Use spent sum_totals totals",
        "database": "Library open_library",
        "particulars": "Particulars particulars_of",
        "search": "Page Picture Query count find_picture known page pictures_of",
        "detail": "paths_by_content record_of",
        "write": "take_in",
    }

    def __getattr__(name):
        from importlib import import_module

        for home, names in _HOMES.items():
            if name in names.split():
                return getattr(import_module(f"imagen.library.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Added",
    "Delivery",
    "Entry",
    "Failure",
    "Failures",
    "Kept",
    "Library",
    "Page",
    "Particulars",
    "Picture",
    "Query",
    "Report",
    "Spent",
    "Total",
    "Use",
    "add",
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
    "record_of",
    "spent",
    "sum_totals",
    "take_in",
    "totals",
]
