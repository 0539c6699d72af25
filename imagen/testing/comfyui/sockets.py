"""How a connection ends: gently or not."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

_RESET_ON_CLOSE = struct.pack("hh" if hasattr(socket, "SO_EXCLUSIVEADDRUSE") else "ii", 1, 0)


def wake(connection: socket.socket) -> None:
    """End both directions; whoever reads from it goes on at once."""
    with suppress(OSError):
        # Not the method of a TLS socket: it would forget the encryption under its reader.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """As if the process had been killed: its reader goes on, and closing resets the connection."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RD)
