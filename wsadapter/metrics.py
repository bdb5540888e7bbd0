"""Metrics for Prometheus, made of what signals and hooks tell. Nobody here imports this module.

    import wsadapter.metrics                     # in AppConfig.ready: this process counts
    path("metrics/", wsadapter.metrics.view)     # in urls.py: it tells, and counts as well

Nothing here is on the way of a frame. What goes over a connection is counted by the connection
itself, and summed when somebody asks. Where several processes share ``PROMETHEUS_MULTIPROC_DIR``
each one also writes its sums there every few seconds, for whichever of them is asked.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from wsadapter import conf, hooks, signals
from wsadapter.close_codes import CloseCode, ClosedBy
from wsadapter.connection import Connection
from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import forget_closed_loops
from wsadapter.store import RedisStore
from wsadapter.store.operations import ClientInfo, LiveNodes, OnlineCount, OnlineUserCount

try:
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        REGISTRY,
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        generate_latest,
    )
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
except ImportError as error:  # pragma: no cover
    raise ImproperlyConfigured(
        'wsadapter.metrics needs prometheus-client: pip install "wsadapter[prometheus]".'
    ) from error

#: Sums are written to ``PROMETHEUS_MULTIPROC_DIR`` this often while anybody is connected.
WRITE_SECONDS = 5.0

#: Upper bounds in seconds.
FANOUT_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LATENCY_BUCKETS = (1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PUBLISH_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5)
HANDLER_BUCKETS = (1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

#: RFC 6455's and wsadapter's own.
KNOWN_CODES = frozenset({*range(1000, 1016), *CloseCode})
#: Those that a project makes up. Of these a client could make a thousand series.
PROJECT_CODES = range(4000, 5000)


def code_label(code: int, by: ClosedBy) -> str:
    """A close code as one of a few labels: a number that is known, or that the project chose.

    What a client makes up is all together, such as ``"4xxx"``.
    """
    if code in KNOWN_CODES or (by is ClosedBy.SERVER and code in PROJECT_CODES):
        return str(int(code))
    return f"{code // 1000}xxx" if 1000 <= code < 5000 else "other"


class Sums(NamedTuple):
    """What went over connections."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def plus(self, connection: Connection) -> Sums:
        stats = connection.stats
        return Sums(
            self.messages_in + stats.messages_in,
            self.messages_out + stats.messages_out,
            self.bytes_in + stats.bytes_in,
            self.bytes_out + stats.bytes_out,
        )


class Traffic:
    """The connections of this process, and what has gone over them and those before them."""

    def __init__(self) -> None:
        self._live: dict[int, Connection] = {}
        self._ended = Sums()
        self._lock = threading.Lock()  # a thread asks while event loops serve

    def __len__(self) -> int:
        return len(self._live)

    def begin(self, connection: Connection) -> None:
        with self._lock:
            self._live[id(connection)] = connection

    def end(self, connection: Connection) -> None:
        with self._lock:
            if self._live.pop(id(connection), None) is not None:
                self._ended = self._ended.plus(connection)

    def sums(self) -> Sums:
        """From the beginning of this process; they only ever rise."""
        with self._lock:
            sums = self._ended
            for connection in self._live.values():
                sums = sums.plus(connection)
            return sums

    def queued_bytes(self) -> int:
        with self._lock:
            return sum(connection.stats.queued_bytes for connection in self._live.values())


class Metrics:
    """What one process has to tell: a collector for a registry of prometheus_client.

    Args:
        shared: whether the sums are written every few seconds, for other processes to read.
    """

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._traffic = Traffic()
        self._told = Sums()
        self._registered: set[str] = set()
        self._writing: dict[asyncio.AbstractEventLoop, asyncio.TimerHandle] = {}
        self._lock = threading.Lock()
        self._instruments: list[Counter | Gauge | Histogram] = []
        self._make_connection_instruments()
        self._make_traffic_instruments()
        self._make_work_instruments()

    def _make_connection_instruments(self) -> None:
        self.connections = self._gauge("connections", "Open connections of these processes.")
        self.connects = self._counter("connects", "Connections that were registered.")
        self.disconnects = self._counter(
            "disconnects", "Registered connections that ended, by close code.", "code"
        )
        self.dead_connections = self._counter(
            "dead_connections", "Connections that were found dead and removed.", "reason"
        )
        self.heartbeat_timeouts = self._counter(
            "heartbeat_timeouts", "Pings that were not answered in time."
        )
        self.round_trip = self._histogram(
            "round_trip_seconds", "From a ping to its pong.", LATENCY_BUCKETS
        )

    def _make_traffic_instruments(self) -> None:
        self.messages = self._counter(
            "messages", "Frames that clients sent (in) and were sent (out).", "direction"
        )
        self.bytes = self._counter(
            "bytes", "Payloads that clients sent (in) and were sent (out).", "direction"
        )
        self.dropped = self._counter("dropped", "Messages for which there was no room.", "reason")
        self.outbox_bytes = self._gauge("outbox_bytes", "What waits to be sent to clients.")
        self.fanout = self._histogram(
            "fanout_seconds", "One push to all connections of an event loop.", FANOUT_BUCKETS
        )
        self.deliveries = self._counter(
            "deliveries", "Connections that pushes were handed to, of all fan-outs together."
        )
        self.latency = self._histogram(
            "broadcast_latency_seconds",
            "From the publisher's call to the last write of a fan-out.",
            LATENCY_BUCKETS,
        )

    def _make_work_instruments(self) -> None:
        self.publish = self._histogram(
            "publish_seconds", "One call of a helper, by its name.", PUBLISH_BUCKETS, "helper"
        )
        self.publish_failures = self._counter(
            "publish_failures", "Calls of helpers that could not publish.", "helper"
        )
        self.handler = self._histogram(
            "handler_seconds", "One message in its handler.", HANDLER_BUCKETS, "type"
        )
        self.handler_errors = self._counter(
            "handler_errors", "Messages that failed, by kind of failure.", "type", "kind"
        )
        self.redis_reconnects = self._counter(
            "redis_reconnects", "How often Redis was away and came back."
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(f"wsadapter_{name}", text, labels, registry=None)
        self._instruments.append(counter)
        return counter

    def _gauge(self, name: str, text: str) -> Gauge:
        gauge = Gauge(f"wsadapter_{name}", text, registry=None, multiprocess_mode="livesum")
        gauge.set(0)  # a process before it may have had this number, and left a file
        self._instruments.append(gauge)
        return gauge

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        histogram = Histogram(f"wsadapter_{name}", text, labels, buckets=buckets, registry=None)
        self._instruments.append(histogram)
        return histogram

    # What a registry asks

    def describe(self) -> Iterator[Metric]:
        for instrument in self._instruments:
            yield from instrument.describe()

    def collect(self) -> Iterator[Metric]:
        self.sum_up()
        for instrument in self._instruments:
            yield from instrument.collect()

    def sum_up(self) -> None:
        """Add what has gone over the connections since the last time; from any thread."""
        with self._lock:
            before, self._told = self._told, self._traffic.sums()
            now = self._told
            self.messages.labels("in").inc(now.messages_in - before.messages_in)
            self.messages.labels("out").inc(now.messages_out - before.messages_out)
            self.bytes.labels("in").inc(now.bytes_in - before.bytes_in)
            self.bytes.labels("out").inc(now.bytes_out - before.bytes_out)
            self.outbox_bytes.set(self._traffic.queued_bytes())

    # What is observed

    def observe(self) -> None:
        """Listen to signals and hooks; a second time changes nothing."""
        for signal, receiver in self._receivers():
            signal.connect(receiver)
        for hook, observer in self._observers():
            hook.observe(observer)

    def stop(self) -> None:
        """Listen no more."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)
        for hook, observer in self._observers():
            hook.forget(observer)

    def _receivers(self) -> Iterable[tuple[Any, Any]]:
        return (
            (signals.client_connected, self._client_connected),
            (signals.delivery_failed, self._delivery_failed),
            (signals.message_dropped, self._message_dropped),
        )

    def _observers(self) -> Iterable[tuple[hooks.Hook[...], Any]]:
        return (
            (hooks.connection_begins, self._connection_begins),
            (hooks.connection_ended, self._connection_ended),
            (hooks.fanned_out, self._fanned_out),
            (hooks.published, self._published),
            (hooks.handled, self._handled),
            (hooks.event_dropped, self._event_dropped),
            (hooks.ponged, self.round_trip.observe),
            (hooks.heartbeat_timed_out, self._heartbeat_timed_out),
            (hooks.came_back, self._came_back),
        )

    def _connection_begins(self, connection: Connection) -> None:
        self._traffic.begin(connection)
        if self._shared:
            self._write_later()

    def _connection_ended(self, connection: Connection) -> None:
        self._traffic.end(connection)
        if connection.serial in self._registered:
            self._count_end(connection)
        if self._shared and not self._traffic:
            self.sum_up()  # this process may be about to end

    def _write_later(self) -> None:
        loop = asyncio.get_running_loop()
        if loop not in self._writing:
            forget_closed_loops(self._writing)
            self._writing[loop] = loop.call_later(WRITE_SECONDS, self._write, loop)

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        del self._writing[loop]
        self.sum_up()
        if self._traffic:
            self._write_later()

    # No plain function: Django would take a thread for each call of one.
    async def _client_connected(self, client: ClientInfo, **kwargs: Any) -> None:
        self.connects.inc()
        self._registered.add(client.serial)
        self.connections.set(len(self._registered))

    # Not by a signal: that tells the code, and not whose it is.
    def _count_end(self, connection: Connection) -> None:
        end = connection.closed_error()
        self.disconnects.labels(code_label(end.code, end.closed_by)).inc()
        self._registered.discard(connection.serial)
        self.connections.set(len(self._registered))

    def _delivery_failed(self, **kwargs: Any) -> None:
        self.dead_connections.labels("delivery_failed").inc()

    def _message_dropped(self, count: int, reason: str, **kwargs: Any) -> None:
        self.dropped.labels(reason).inc(count)

    def _event_dropped(self, reason: str) -> None:
        self.dropped.labels(reason).inc()

    def _fanned_out(self, members: int, seconds: float, age_seconds: float | None) -> None:
        self.fanout.observe(seconds)
        self.deliveries.inc(members)
        if age_seconds is not None:
            self.latency.observe(max(0.0, age_seconds))  # the clocks of two machines differ

    def _published(
        self, helper: str, posts: int, seconds: float, error: BaseException | None
    ) -> None:
        self.publish.labels(helper).observe(seconds)
        if error is not None:
            self.publish_failures.labels(helper).inc()

    def _handled(self, type: str, seconds: float, kind: str | None) -> None:
        self.handler.labels(type).observe(seconds)
        if kind is not None:
            self.handler_errors.labels(type, kind).inc()

    def _heartbeat_timed_out(self) -> None:
        self.heartbeat_timeouts.inc()
        self.dead_connections.labels("no_pong").inc()

    def _came_back(self, what: str) -> None:
        self.redis_reconnects.inc()


class Cluster:
    """What all processes know together: a collector that asks the store when it is asked."""

    TEXTS = {
        "online_connections": "Connections of all processes and machines.",
        "online_users": "Distinct users of all processes and machines.",
        "nodes": "Event loops that hold a lease, mostly one in each server process.",
        "lease_age_seconds": "Since the renewal that is the longest ago, of all leases.",
        "redis_up": "Whether the Redis of presence answered.",
    }

    def describe(self) -> Iterator[Metric]:
        for name in self.TEXTS:
            yield _family(name)

    def collect(self) -> Iterator[Metric]:
        store = conf.store()
        try:
            nodes = store.run(LiveNodes())
            ages = [conf.settings.lease_seconds - node.ends_in_seconds for node in nodes]
            known = {
                "online_connections": store.run(OnlineCount()),
                "online_users": store.run(OnlineUserCount()),
                "nodes": len(nodes),
                "lease_age_seconds": max(0.0, *ages, 0.0),
            }
        except StoreUnavailable:
            known = {}  # nothing is better than a wrong number
        if isinstance(store, RedisStore):
            known["redis_up"] = bool(known)
        for name, value in known.items():
            yield _family(name, float(value))


def _family(name: str, value: float | None = None) -> Metric:
    return GaugeMetricFamily(f"wsadapter_{name}", Cluster.TEXTS[name], value)


def directory() -> Path | None:
    """Where the processes of this host write for one another, if they do.

    Raises:
        ImproperlyConfigured: there is no such directory.
    """
    given = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not given:
        return None
    if not Path(given).is_dir():
        raise ImproperlyConfigured(
            f"PROMETHEUS_MULTIPROC_DIR is {given!r}, which is no directory. Make it, empty, "
            "before the first process starts."
        )
    return Path(given)


def forget_dead(directory: Path) -> None:
    """Drop the gauges of processes that are no more; what they counted stays."""
    pids = (path.stem.rpartition("_")[2] for path in directory.glob("gauge_live*_*.db"))
    for pid in {int(pid) for pid in pids if pid.isdecimal() and len(pid) < 10}:
        if not _is_alive(pid):
            mark_process_dead(pid, str(directory))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return not _has_ended(pid)


def _has_ended(pid: int) -> bool:
    """Whether only its parent still has to hear of its end, as far as /proc tells."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False  # there is no /proc, or it hides this one
    state = stat.rpartition(b")")[2].split()[0]  # before it stands a name, with any bytes
    return state in (b"Z", b"X")


_metrics = Metrics(shared=directory() is not None)
_cluster = Cluster()


def install(registry: CollectorRegistry = REGISTRY) -> None:
    """Count in this process, and show it in a registry; a second time changes nothing.

    Importing this module has done so for the default registry.
    """
    _metrics.observe()
    if registry not in _shown_in:
        _shown_in.append(registry)
        registry.register(_metrics)
        registry.register(_cluster)


def uninstall() -> None:
    """Count no more, and leave all registries."""
    _metrics.stop()
    while _shown_in:
        registry = _shown_in.pop()
        registry.unregister(_metrics)
        registry.unregister(_cluster)


_shown_in: list[CollectorRegistry] = []


@require_safe
def view(request: HttpRequest) -> HttpResponse:
    """All metrics of the default registry, or of all processes that share a directory."""
    return HttpResponse(generate_latest(_readable()), content_type=CONTENT_TYPE_LATEST)


def _readable() -> CollectorRegistry:
    shared = directory()
    if shared is None:
        return REGISTRY
    _metrics.sum_up()
    forget_dead(shared)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(shared))
    registry.register(_cluster)
    return registry


install()
