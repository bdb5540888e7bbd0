"""How Socket.IO puts an event into a WebSocket frame."""

from __future__ import annotations

import json

from benchmarks.system import text_frame

EVENT = "m"

# A client asks for version 4 of Engine.IO and for a WebSocket at once, with no polling before it.
PATH = "/socket.io/?EIO=4&transport=websocket&user=1"

# Connect to the namespace "/"; the server sends its open packet before and its answer after it.
HELLO = ("40",)
GREETINGS = 2

# A heartbeat of Engine.IO: "2" is the ping, "3" the pong.
ANSWERS = {"2": "3"}


def event_frame(payload: str, *, ascii_only: bool) -> bytes:
    """An Engine.IO message ("4") with a Socket.IO event ("2"): its name and one argument.

    Args:
        payload: the argument.
        ascii_only: the server's JSON escapes what is not ASCII, as Python's does by default.
    """
    arguments = json.dumps([EVENT, payload], separators=(",", ":"), ensure_ascii=ascii_only)
    return text_frame("42" + arguments)
