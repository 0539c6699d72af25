"""A simulated Supabase for tests: `with Supabase() as cloud:` gives a project at `cloud.url`.

It speaks the parts of Storage and PostgREST that pictures and their rows need, keeps them in
memory, and misbehaves as the switches of `Trouble` say: `Supabase(lost_uploads=1)`.
"""

from imagen.testing.supabase.service import BUCKET, Supabase
from imagen.testing.supabase.storage import Bucket
from imagen.testing.supabase.tables import IMAGES, USAGE, Table
from imagen.testing.supabase.tokens import ANON_KEY, SERVICE_KEY, key
from imagen.testing.supabase.trouble import Trouble

__all__ = [
    "ANON_KEY",
    "BUCKET",
    "IMAGES",
    "SERVICE_KEY",
    "USAGE",
    "Bucket",
    "Supabase",
    "Table",
    "Trouble",
    "key",
]
