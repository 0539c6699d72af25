"""All that was ever made: kept in one SQLite file, or in PostgreSQL for several machines.

Whatever opens the library loads SQLAlchemy, which takes a while: it is loaded when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen.library.consistency import ConsistencyReport, check_consistency, forget_missing
    from imagen.library.database import Library, open_library
    from imagen.library.detail import ImageDetail, find_paths, load_detail, load_record
    from imagen.library.import_files import AddedFiles, add_files
    from imagen.library.ledger import (
        LedgerRow,
        Spending,
        UsageTotal,
        add_totals,
        sum_spending,
        sum_usage,
    )
    from imagen.library.records import Delivery, GenerationRecord, StoredImage
    from imagen.library.search import (
        FailedGeneration,
        FailuresPage,
        ImagesPage,
        LibraryImage,
        Query,
        count_images,
        find_failure,
        find_image,
        images_of,
        list_values,
        search_failures,
        search_images,
    )
    from imagen.library.write import record_generation
else:
    _HOMES = {
        "import_files": "AddedFiles add_files",
        "consistency": "ConsistencyReport check_consistency forget_missing",
        "records": "Delivery GenerationRecord StoredImage",
        "ledger": "Spending UsageTotal LedgerRow sum_spending add_totals sum_usage",
        "database": "Library open_library",
        "search": "FailedGeneration FailuresPage LibraryImage ImagesPage Query count_images search_failures find_failure find_image list_values search_images images_of",
        "detail": "ImageDetail load_detail find_paths load_record",
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
    "FailuresPage",
    "GenerationRecord",
    "LedgerRow",
    "Library",
    "LibraryImage",
    "ImagesPage",
    "ImageDetail",
    "Query",
    "ConsistencyReport",
    "Spending",
    "StoredImage",
    "UsageTotal",
    "add_files",
    "check_consistency",
    "count_images",
    "search_failures",
    "find_failure",
    "find_image",
    "forget_missing",
    "list_values",
    "open_library",
    "search_images",
    "load_detail",
    "find_paths",
    "images_of",
    "record_generation",
    "load_record",
    "sum_spending",
    "add_totals",
    "sum_usage",
]
