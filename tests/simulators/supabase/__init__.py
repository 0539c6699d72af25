"""A simulated Supabase for tests: `with Supabase() as cloud:` runs a project at `cloud.url`.

It speaks the parts of Storage and PostgREST that images and their rows need, keeps them in memory,
and misbehaves as `SupabaseSwitches` say: `Supabase(lost_uploads=1)`.
"""

from simulators.supabase.failure_switches import SupabaseSwitches
from simulators.supabase.postgrest import IMAGES, USAGE, Table
from simulators.supabase.server import BUCKET, Supabase
from simulators.supabase.storage import Bucket
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
