"""Servers that answer as Replicate and Supabase do."""
