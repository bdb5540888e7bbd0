"""picows on uvloop with Redis: one prepared message, written to every transport of a room."""

from __future__ import annotations

from collections import defaultdict

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)
from subscription import BACKLOG, HEARTBEATS, PORT, rooms_of, subscribed

# picows writes the header of the frame into the bytes in front of the message, uncopied.
HEADER_SPACE = 14

# Looked up once, not for each transport.
TEXT = WSMsgType.TEXT

rooms: defaultdict[str, set[WSTransport]] = defaultdict(set)


class Client(WSListener):
    def __init__(self, request: WSUpgradeRequest) -> None:
        super().__init__()
        self._rooms = rooms_of(request.path.decode())

    def on_ws_connected(self, transport: WSTransport) -> None:
        for room in self._rooms:
            rooms[room].add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for room in self._rooms:
            rooms[room].discard(transport)


async def main() -> None:
    async with subscribed() as messages:
        server = await ws_create_server(
            Client, "127.0.0.1", PORT, backlog=BACKLOG, enable_auto_ping=HEARTBEATS
        )
        async with server:
            async for room, payload in messages:
                message = bytearray(HEADER_SPACE) + payload
                for transport in rooms.get(room, ()):
                    transport.send_reuse_external_bytearray(TEXT, message, HEADER_SPACE)


if __name__ == "__main__":
    uvloop.run(main())
