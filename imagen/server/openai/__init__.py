"""OpenAI's Images API: its bodies, its answers and streams, and its names of models."""
