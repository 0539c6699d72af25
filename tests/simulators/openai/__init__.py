"""A simulated server of the Images API: `with ImagesServer() as server:`, at `server.url`."""

from simulators.openai.server import KEY, ImagesServer, ReceivedImage

__all__ = ["KEY", "ImagesServer", "ReceivedImage"]
