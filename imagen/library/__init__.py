"""All that was ever made: kept in one SQLite file, or in PostgreSQL for several machines.

Whatever is imported from here loads SQLAlchemy, which takes a while: import it late.
"""

from imagen.library.entries import Delivery, Entry, Kept
from imagen.library.ledger import Spent, Total, Use, spent, totals
from imagen.library.opening import Library, open_library
from imagen.library.pictures import (
    Page,
    Picture,
    Query,
    count,
    find_picture,
    known,
    page,
    pictures_of,
)
from imagen.library.taking import take_in

__all__ = [
    "Delivery",
    "Entry",
    "Kept",
    "Library",
    "Page",
    "Picture",
    "Query",
    "Spent",
    "Total",
    "Use",
    "count",
    "find_picture",
    "known",
    "open_library",
    "page",
    "pictures_of",
    "spent",
    "take_in",
    "totals",
]
