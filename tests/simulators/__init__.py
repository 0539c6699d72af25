"""Simulated cloud services for tests."""
