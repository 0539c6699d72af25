"""A simulated Supabase for tests: `with Supabase() as cloud:` gives a project at `cloud.url`.

It speaks the parts of Storage and PostgREST that pictures and their rows need, keeps them in
memory, and misbehaves as the switches of `SupabaseSwitches` say: `Supabase(lost_uploads=1)`.
"""

from simulators.supabase.failure_switches import SupabaseSwitches
from simulators.supabase.service import BUCKET, Supabase
from simulators.supabase.storage import Bucket
from simulators.supabase.tables import IMAGES, USAGE, Table
from simulators.supabase.tokens import ANON_KEY, SERVICE_KEY, key

__all__ = [
    "ANON_KEY",
    "BUCKET",
    "IMAGES",
    "SERVICE_KEY",
    "USAGE",
    "Bucket",
    "Supabase",
    "SupabaseSwitches",
    "Table",
    "key",
]
