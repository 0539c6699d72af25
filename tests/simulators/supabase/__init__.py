"""A simulated Supabase for tests: `with Supabase() as cloud:` gives a project at `cloud.url`.

It speaks the parts of Storage and PostgREST that pictures and their rows need, keeps them in
memory, and misbehaves as the switches of `Trouble` say: `Supabase(lost_uploads=1)`.
"""

from simulators.supabase.service import BUCKET, Supabase
from simulators.supabase.storage import Bucket
from simulators.supabase.tables import IMAGES, USAGE, Table
from simulators.supabase.tokens import ANON_KEY, SERVICE_KEY, key
from simulators.supabase.trouble import Trouble

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
