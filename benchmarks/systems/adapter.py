"""wsadapter: its consumer, its Redis layer and its helpers, on each server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.lanes import OUTBOX_BYTES
from benchmarks.system import Family, Place, Publisher, System
from benchmarks.systems.channels_site.site import SiteSystem


class AdapterSystem(SiteSystem):
    """The consumer as it is, with a welcome and a counted client."""

    family: Family = "wsadapter"
    path = "/adapter/"
    greetings = 1
    answers = {'{"type":"ws:ping"}': '{"type":"ws:pong"}'}

    def __init__(self, name: str, *, server: str, adapter: Mapping[str, Any] | None = None) -> None:
        super().__init__(name, server=server, layer="wsadapter", adapter=adapter)

    def publisher(self, place: Place) -> Publisher:
        return AdapterPublisher()


class ScaledSystem(AdapterSystem):
    """Also measured with two server processes."""

    measures = AdapterSystem.measures | {"scale"}


class PreparedSystem(ScaledSystem):
    """On wsadapter's protocol for uvicorn, which also takes frames that are compressed once."""

    measures = ScaledSystem.measures | {"compressed", "storm"}


class RoomySystem(AdapterSystem):
    """Prepared frames, and outboxes in which much may wait and be overtaken."""

    measures = frozenset({"lanes"})


class DaphneSystem(AdapterSystem):
    """Also measured with everybody at the door at once."""

    measures = AdapterSystem.measures | {"storm"}


class UnjoinedSystem(AdapterSystem):
    """Prepared frames, each written by itself; only fan-out differs from the above."""

    measures = frozenset({"closed", "burst"})


class MeteredSystem(AdapterSystem):
    """Prepared frames, with `wsadapter.metrics` in the server and in the publisher."""

    measures = frozenset({"closed", "burst"})

    def environment(self, place: Place) -> Mapping[str, str]:
        apps = ["benchmarks.systems.channels_site.metered.MeteredConfig"]
        return {**super().environment(place), "BENCHMARK_APPS": json.dumps(apps)}


class PatientSystem(AdapterSystem):
    """With the garbage collector told to wait, as docs/performance.md says how."""

    measures = frozenset({"closed", "burst", "connect"})

    def environment(self, place: Place) -> Mapping[str, str]:
        return {**super().environment(place), "BENCHMARK_COLLECTOR": "patient"}


class AdapterPublisher(Publisher):
    """The public helpers, from synchronous code."""

    def __init__(self) -> None:
        import django

        django.setup()
        import wsadapter

        self._wsadapter = wsadapter

    def broadcast(self, payloads: Sequence[str]) -> None:
        with self._wsadapter.bulk():
            for payload in payloads:
                self._wsadapter.broadcast(payload)

    def broadcast_in_lanes(self, payloads: Sequence[str], priorities: Sequence[int]) -> None:
        with self._wsadapter.bulk():
            for payload, priority in zip(payloads, priorities, strict=True):
                self._wsadapter.broadcast(payload, priority=self._wsadapter.Priority(priority))

    def send_to_user(self, user: str, payload: str) -> None:
        self._wsadapter.send_to_user(user, payload)


SYSTEMS: list[System] = [
    PreparedSystem("wsadapter, uvicorn, prepared frames", server="prepared"),
    UnjoinedSystem(
        "wsadapter, uvicorn, prepared, not joined",
        server="prepared",
        adapter={"JOIN_FRAMES": False},
    ),
    MeteredSystem("wsadapter, uvicorn, prepared, with metrics", server="prepared"),
    RoomySystem(
        "wsadapter, uvicorn, prepared, large outbox",
        server="prepared",
        adapter={"MAX_OUTBOX_SIZE": OUTBOX_BYTES},
    ),
    ScaledSystem("wsadapter, uvicorn", server="uvicorn"),
    PatientSystem("wsadapter, uvicorn, patient collector", server="uvicorn"),
    DaphneSystem("wsadapter, daphne", server="daphne"),
    AdapterSystem("wsadapter, hypercorn", server="hypercorn"),
    AdapterSystem("wsadapter, granian", server="granian"),
]
