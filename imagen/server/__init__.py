"""The HTTP server: `imagen serve`. Only this folder imports FastAPI."""
