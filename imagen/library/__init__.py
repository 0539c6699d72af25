"""The library: every generation and its images, in one SQLite file or in PostgreSQL.

Its names are loaded on first use, as SQLAlchemy takes a while to load.
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
        sum_reserved,
        sum_spending,
        sum_usage,
        usual_seconds,
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
        find_image_by_id,
        find_images_by_uid,
        images_of,
        list_values,
        paths_of,
        search_failures,
        search_images,
    )
    from imagen.library.write import record_generation
else:
    _MODULES = {
        "consistency": "ConsistencyReport check_consistency forget_missing",
        "database": "Library open_library",
        "detail": "ImageDetail find_paths load_detail load_record",
        "import_files": "AddedFiles add_files",
        "ledger": "LedgerRow Spending UsageTotal add_totals sum_reserved sum_spending sum_usage "
        "usual_seconds",
        "records": "Delivery GenerationRecord StoredImage",
        "search": "FailedGeneration FailuresPage ImagesPage LibraryImage Query count_images "
        "find_failure find_image find_image_by_id find_images_by_uid images_of list_values "
        "paths_of search_failures search_images",
        "write": "record_generation",
    }

    def __getattr__(name):
        from importlib import import_module

        for module, names in _MODULES.items():
            if name in names.split():
                return getattr(import_module(f"imagen.library.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AddedFiles",
    "ConsistencyReport",
    "Delivery",
    "FailedGeneration",
    "FailuresPage",
    "GenerationRecord",
    "ImageDetail",
    "ImagesPage",
    "LedgerRow",
    "Library",
    "LibraryImage",
    "Query",
    "Spending",
    "StoredImage",
    "UsageTotal",
    "add_files",
    "add_totals",
    "check_consistency",
    "count_images",
    "find_failure",
    "find_image",
    "find_image_by_id",
    "find_images_by_uid",
    "find_paths",
    "forget_missing",
    "images_of",
    "list_values",
    "load_detail",
    "load_record",
    "open_library",
    "paths_of",
    "record_generation",
    "search_failures",
    "search_images",
    "sum_reserved",
    "sum_spending",
    "sum_usage",
    "usual_seconds",
]
