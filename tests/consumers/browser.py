"""A browser and its ASGI server in one, for consumers in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from channels.testing import WebsocketCommunicator

#: Seconds that anything may take here before a test gives up on it.
PATIENCE_SECONDS = 10.0


class Closed(NamedTuple):
    code: int
    reason: str


class Wire(asyncio.Queue[dict[str, Any]]):
    """What the application has sent. As uvicorn does, it refuses to take more for nobody."""

    gone = False

    async def put(self, event: dict[str, Any]) -> None:
        if self.gone:
            raise OSError("the client is gone")
        await super().put(event)


class Browser(WebsocketCommunicator):
    """One WebSocket connection to an application.

    Args:
        application: a consumer class, or any ASGI application.
        path: with a query string where one is wanted.
        headers: by name.
        takes: how many events the server takes before its ``send`` does not return any more.
        scope: more of the connection scope, such as ``user`` and ``session``.
    """

    def __init__(
        self,
        application: Any,
        path: str = "/ws/",
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Iterable[str] = (),
        takes: int = 0,
        **scope: Any,
    ) -> None:
        if isinstance(application, type):
            application = application.as_asgi()
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        super().__init__(application, path, raw, list(subprotocols))
        self.scope |= {"client": ["192.0.2.1", 1234], **scope}
        self._output_queue = Wire(takes)

    async def event(self) -> dict[str, Any]:
        """The next thing that the application sends, of whatever kind."""
        return await self.receive_output(PATIENCE_SECONDS)

    async def open(self) -> str:
        """Connect; returns the client id of the welcome."""
        accepted, _ = await self.connect(PATIENCE_SECONDS)
        assert accepted, "the handshake was refused"
        welcome = await self.receive()
        assert welcome.keys() == {"type", "client"} and welcome["type"] == "ws:welcome"
        return welcome["client"]

    async def receive(self) -> Any:
        """The next frame: decoded if it is JSON, else as it is."""
        frame = await self.receive_from(PATIENCE_SECONDS)
        try:
            return json.loads(frame)
        except ValueError:
            return frame

    async def request(self, **message: Any) -> Any:
        """Send a message and return the next frame."""
        return await self.request_raw(json.dumps(message))

    async def request_raw(self, frame: str | bytes) -> Any:
        """The same for any frame."""
        await self.frame(frame)
        return await self.receive()

    async def frame(self, frame: str | bytes) -> None:
        """Send any frame, an empty one included."""
        kind = "text" if isinstance(frame, str) else "bytes"
        await self.send_input({"type": "websocket.receive", kind: frame})

    async def closed(self) -> Closed:
        """Read until the application closes; answer it, as a browser does, and see it end."""
        while (event := await self.event())["type"] != "websocket.close":
            pass
        closed = Closed(event.get("code", 1000), event.get("reason", ""))
        await self.leave(closed.code)
        return closed

    async def refused(self) -> Closed:
        """Connect, only to be closed at once with a code."""
        accepted, _ = await self.connect(PATIENCE_SECONDS)
        assert accepted, "the handshake was refused, which tells a browser no code"
        event = await self.event()
        assert event["type"] == "websocket.close", event
        closed = Closed(event["code"], event["reason"])
        await self.leave(closed.code)
        return closed

    async def leave(self, code: int = 1000) -> None:
        """End the connection; returns when the application is done with it."""
        self._output_queue.gone = True
        if self.future.cancelled():
            return
        await self.disconnect(code, PATIENCE_SECONDS)

    async def cut(self) -> None:
        """Cancel the application, as servers do when they end."""
        self.future.cancel()
        await asyncio.wait([self.future])
