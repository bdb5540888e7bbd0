"""Those who echo typed messages: wsadapter's streams and what else does it in Channels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from benchmarks.system import Family, Message, Place, Publisher, System, compact_json
from benchmarks.systems.channels_site.site import PACKAGE, SiteSystem


class EchoSystem(SiteSystem):
    """A WebSocket of the site that sends back what it is sent.

    Args:
        name: as the table shows it; the server stands in it.
        server: a key of the site's ``SERVERS``.
        path: of the WebSocket.

    Attributes:
        routes: the module of the site's package ``echo`` that has the path.
    """

    measures = frozenset({"echo"})
    layer_name: str
    routes: str

    def __init__(self, name: str, *, server: str, path: str) -> None:
        super().__init__(name, server=server, layer=self.layer_name)
        self.path = path

    def environment(self, place: Place) -> Mapping[str, str]:
        routes = f"{PACKAGE}.echo.{self.routes}"
        return {**super().environment(place), "BENCHMARK_ROUTES": routes}

    def publisher(self, place: Place) -> Publisher:
        return Nobody()


class Nobody(Publisher):
    """Pushes nothing: whoever hears an echo has spoken."""

    def broadcast(self, payloads: Sequence[str]) -> None:
        raise NotImplementedError("Nothing is pushed to those who echo.")

    def send_to_user(self, user: str, payload: str) -> None:
        raise NotImplementedError("Nothing is pushed to those who echo.")


class AdapterEcho(EchoSystem):
    """wsadapter's: a welcome comes first, and what is said is heard as it was."""

    family: Family = "wsadapter"
    layer_name = "wsadapter"
    greetings = 1
    routes = "adapter"


class StreamEcho(AdapterEcho):
    routes = "streams"


class HandlerEcho(AdapterEcho):
    """A request with an id, and its reply."""

    def heard(self, message: Message) -> str:
        return compact_json({"type": "ws:reply", "id": message["id"], "result": message})


class StockEcho(EchoSystem):
    """Plain Channels, whose JSON has blanks."""

    family: Family = "channels"
    layer_name = "pubsub"
    routes = "stock"

    def heard(self, message: Message) -> str:
        return json.dumps(message)


class ChanxEcho(EchoSystem):
    """chanx, where a type is an action, and the other fields are its payload."""

    family: Family = "peer"
    layer_name = "pubsub"
    routes = "chanx"

    def missing(self) -> str | None:
        if find_spec("chanx") is None:
            return "chanx cannot be imported: run `pip install -r benchmarks/requirements.txt`."
        return super().missing()

    def said(self, message: Message) -> str:
        return compact_json(_with_payload(message))

    def heard(self, message: Message) -> str:
        return json.dumps(_with_payload(message))


def _with_payload(message: Message) -> Message:
    payload = {name: value for name, value in message.items() if name != "type"}
    return {"action": message["type"], "payload": payload}


SYSTEMS: list[System] = [
    StreamEcho("wsadapter, stream, uvicorn, prepared frames", server="prepared", path="/stream/"),
    StreamEcho("wsadapter, stream, uvicorn", server="uvicorn", path="/stream/"),
    StreamEcho("wsadapter, stream, daphne", server="daphne", path="/stream/"),
    StreamEcho("wsadapter, stream, pydantic, uvicorn", server="uvicorn", path="/models/"),
    HandlerEcho("wsadapter, handler, uvicorn", server="uvicorn", path="/handler/"),
    AdapterEcho("wsadapter, endpoint, unchecked, uvicorn", server="uvicorn", path="/endpoint/"),
    StockEcho("Channels, JSON, pydantic, uvicorn", server="uvicorn", path="/checked/"),
    StockEcho("Channels, JSON, pydantic, daphne", server="daphne", path="/checked/"),
    StockEcho("Channels, JSON, unchecked, uvicorn", server="uvicorn", path="/unchecked/"),
    StockEcho("Channels, JSON, unchecked, daphne", server="daphne", path="/unchecked/"),
    ChanxEcho("chanx, uvicorn", server="uvicorn", path="/chanx/"),
    ChanxEcho("chanx, daphne", server="daphne", path="/chanx/"),
]
