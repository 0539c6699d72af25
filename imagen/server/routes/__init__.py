"""The routes, one module for each subject or foreign API."""
