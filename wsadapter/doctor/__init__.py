"""Whether a site's settings, Redis and layer carry messages, and what to do where they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from wsadapter import conf
from wsadapter.doctor.configuration import layer_kind, system_checks
from wsadapter.doctor.finding import Finding, Verdict, error
from wsadapter.doctor.in_process import connect_in_process
from wsadapter.doctor.redis_server import examine_redis
from wsadapter.layers import RedisChannelLayer
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore

__all__ = ["Finding", "Verdict", "examine"]


#: With one of these wrong no connection can come about.
FOUNDATIONS = {"settings", "channel layer", "Redis", "scripts"}


def examine(url: str | None = None, origin: str | None = None) -> Iterator[Finding]:
    """Look at everything, from what the rest stands on to the whole way; found as it goes.

    What stands on something that is wrong is not looked at.

    Args:
        url: of a WebSocket route of the running site, to connect to as a browser does.
        origin: the page that connects there; None for one of the same host.
    """
    stands = True
    for finding in _examine_foundations():
        stands = stands and not (finding.is_error and finding.subject in FOUNDATIONS)
        yield finding
    if stands:
        yield from asyncio.run(connect_in_process())
    if url is not None:
        yield from _examine_server(url, origin)


def _examine_server(url: str, origin: str | None) -> Iterator[Finding]:
    try:
        from wsadapter.doctor.server import connect_to_server
    except ModuleNotFoundError:
        advice = 'Install it: pip install "wsadapter[client]".'
        yield error("server", "websockets is not there, which --url needs.", advice)
    else:
        yield from asyncio.run(connect_to_server(url, origin))


def _examine_foundations() -> Iterator[Finding]:
    """What needs no connection of a browser."""
    findings = [*system_checks()]
    yield from findings
    if any(finding.is_error for finding in findings):
        return
    kind = layer_kind()
    yield kind
    if not kind.is_error:
        for pool in _pools():
            yield from examine_redis(pool, conf.store())


def _pools() -> list[RedisPool]:
    """Each Redis once: that of presence first, then the others of our layer."""
    store, layer = conf.store(), conf.layer()
    pools = [store.pool] if isinstance(store, RedisStore) else []
    if isinstance(layer, RedisChannelLayer):
        pools += layer.pools
    by_address: dict[str, RedisPool] = {}
    for pool in pools:
        by_address.setdefault(pool.address, pool)
    return list(by_address.values())
