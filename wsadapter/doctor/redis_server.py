"""One Redis: whether it answers, how fast, and whether it keeps what it is given."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import uuid4

import redis

from wsadapter.doctor.finding import Finding, error, fine, warning
from wsadapter.errors import StoreUnavailable
from wsadapter.layers.publishing import MOST_BYTES_AT_ONCE
from wsadapter.redis_pool import RedisPool
from wsadapter.store import MemoryStore, RedisStore
from wsadapter.store.operations import Beat, Lapse, LeaseState, OpenLease

#: What Redis says about itself.
Info: TypeAlias = Mapping[str, Any]

#: The first one with ZMSCORE, which presence asks with, and the oldest that is tested.
LEAST_VERSION = (6, 2)

PINGS = 20
#: Seconds: more, in the median, is felt in every call.
SLOW_SECONDS = 0.005

#: Shares of the memory.
NEARLY_FULL, FULL = 0.75, 0.95

#: Seconds between two clocks.
CLOCK_DIFFERENCE_SECONDS = 2.0

#: Of the lease that is opened, renewed and given up.
LEASE_SECONDS = 5.0

PUBSUB_LIMIT = 'CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60"'


def examine_redis(
    pool: RedisPool, store: RedisStore | MemoryStore, *, now: Callable[[], float] = time.time
) -> Iterator[Finding]:
    """Everything about one Redis; nothing more where it does not answer.

    Args:
        pool: connections to it.
        store: presence, which may live there.
        now: Unix time of this machine in seconds.
    """
    try:
        with pool.reachable():
            _ping(pool)
    except (StoreUnavailable, redis.ResponseError) as failure:
        yield error(
            "Redis",
            str(failure),
            'Its address and password are in WSADAPTER["REDIS_URL"], or in "hosts" of '
            "CHANNEL_LAYERS. What needs Redis was not examined.",
        )
        return
    try:
        yield from _examine_reachable(pool, store, now)
    except StoreUnavailable as failure:
        yield error("Redis", str(failure), "It went away meanwhile. Look at its log.")


def _examine_reachable(
    pool: RedisPool, store: RedisStore | MemoryStore, now: Callable[[], float]
) -> Iterator[Finding]:
    keeps_presence = isinstance(store, RedisStore) and store.pool is pool
    yield from _from_info(pool, keeps_presence)
    with pool.reachable():
        yield latency([_ping(pool) for _ in range(PINGS)], timeout_seconds=pool.timeout_seconds)
    yield buffer_limit(_config(pool, "client-output-buffer-limit"))
    if isinstance(store, RedisStore) and keeps_presence:
        with pool.reachable():
            yield clock(_clock_difference(pool, now))
        yield scripts(store)


def _from_info(pool: RedisPool, keeps_presence: bool) -> Iterator[Finding]:
    try:
        info: Info = pool.sync_client().info()
    except redis.ResponseError as refusal:
        yield warning(
            "Redis",
            f"{pool.address} answers, but does not tell about itself ({refusal}).",
            "Allow its user the command INFO. Version, role, memory and persistence were not "
            "examined.",
        )
        return
    yield version(info, pool.address)
    yield role(info)
    if info.get("cluster_enabled"):
        yield cluster()
    if keeps_presence:
        yield memory_policy(info)
    yield memory(info)
    yield persistence(info)


def _ping(pool: RedisPool) -> float:
    """Seconds that it took. A Redis that cannot write to its disk refuses PING, and no ECHO."""
    begun = time.perf_counter()
    pool.sync_client().echo("")
    return time.perf_counter() - begun


def latency(pings: Sequence[float], *, timeout_seconds: float) -> Finding:
    """Args: pings: seconds that each took."""
    median, longest = statistics.median(pings), max(pings)
    found = (
        f"{median * 1000:.2g} ms in the median of {len(pings)} pings, "
        f"{longest * 1000:.2g} ms at most."
    )
    if longest > timeout_seconds / 2:
        return error(
            "latency",
            found,
            f"That is near REDIS_TIMEOUT ({timeout_seconds:g} s), after which calls fail. Look at "
            "SLOWLOG and at the network, and keep Redis close to the servers.",
        )
    if median > SLOW_SECONDS:
        return warning(
            "latency",
            found,
            "Every call takes one such round trip. Keep Redis in the same data centre.",
        )
    return fine("latency", found)


def version(info: Info, address: str) -> Finding:
    said = str(info.get("redis_version", "0"))
    found = f"{address} answers: version {said}."
    number = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
    if number < LEAST_VERSION:
        return error("Redis", found, "Presence needs 6.2 or newer. Install a newer one.")
    return fine("Redis", found)


def role(info: Info) -> Finding:
    if info.get("role") != "slave":
        return fine("role", "A master: it can be written to.")
    master = f"{info.get('master_host')}:{info.get('master_port')}"
    return error(
        "role",
        f"A replica of {master}: it cannot be written to.",
        "Give the address of the master, or let Sentinel find it: "
        '{"master_name": ..., "sentinels": [...]}.',
    )


def cluster() -> Finding:
    return warning(
        "cluster",
        "This is a node of a Redis Cluster.",
        "Presence works only on the node that holds the slot of KEY_PREFIX. Give that node, or "
        "a Redis without cluster mode.",
    )


def memory_policy(info: Info) -> Finding:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        return error(
            "memory policy",
            f"{policy}: when its memory is full, Redis throws away who is online.",
            "CONFIG SET maxmemory-policy noeviction, also in redis.conf, or give wsadapter a Redis "
            "of its own by REDIS_URL.",
        )
    return fine("memory policy", f"{policy}: who is online is never thrown away.")


def memory(info: Info) -> Finding:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    whole = limit or int(info.get("total_system_memory", 0))
    of_what = "of maxmemory" if limit else "of the machine; no maxmemory is set"
    found = f"{_amount(used)} of {_amount(whole)} are used ({of_what})."
    share = used / whole if whole else 0.0
    if share >= FULL:
        return error("memory", found, "It is full: writes are refused. Raise maxmemory.")
    if share >= NEARLY_FULL:
        return warning("memory", found, "When it is full, writes are refused. Raise maxmemory.")
    return fine("memory", found)


def _amount(size: int) -> str:
    """Of bytes."""
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:.1f} MiB"


def persistence(info: Info) -> Finding:
    failed = [
        name
        for name, field in (
            ("snapshot", "rdb_last_bgsave_status"),
            ("log", "aof_last_write_status"),
        )
        if info.get(field, "ok") != "ok"
    ]
    if failed:
        return error(
            "persistence",
            f"The last {' and '.join(failed)} could not be written to disk.",
            "Redis refuses writes then. Free its disk, or look into its log; presence needs no "
            'persistence: CONFIG SET save "" and CONFIG SET appendonly no.',
        )
    kept = "an append-only file" if info.get("aof_enabled") else "no append-only file"
    return fine("persistence", f"It has {kept}; wsadapter needs none.")


def _config(pool: RedisPool, name: str) -> str | None:
    """A parameter of Redis, or None where it does not tell."""
    try:
        answer: Any = pool.sync_client().config_get(name)
    except redis.ResponseError:
        return None
    return str(answer.get(name, "")) or None


def buffer_limit(limits: str | None) -> Finding:
    """What Redis keeps for a process that reads slowly.

    Args:
        limits: ``client-output-buffer-limit``: class, hard bytes, soft bytes, seconds, …
    """
    subject = "pub/sub buffer"
    if limits is None:
        return warning(
            subject,
            "Unknown: this Redis refuses CONFIG GET.",
            "Ask whoever runs it whether client-output-buffer-limit gives pubsub 32mb 8mb 60.",
        )
    words = limits.split()
    hard, soft, seconds = map(int, words[words.index("pubsub") + 1 :][:3])
    found = f"{_limit(hard)} for each server process, {_limit(soft)} for longer than {seconds} s."
    if not hard:
        return warning(
            subject, found, f"A process that hangs would fill Redis' memory. {PUBSUB_LIMIT}."
        )
    if min(hard, soft or hard) < 2 * MOST_BYTES_AT_ONCE:
        return warning(
            subject, found, f"A burst of messages would disconnect a process. {PUBSUB_LIMIT}."
        )
    return fine(subject, found)


def _limit(size: int) -> str:
    return _amount(size) if size else "no limit"


def _clock_difference(pool: RedisPool, now: Callable[[], float]) -> float:
    """Seconds by which the clock of Redis is ahead of this machine's."""
    before = now()
    seconds, microseconds = pool.sync_client().time()
    return float(seconds + microseconds / 1e6 - (before + now()) / 2)


def clock(ahead_seconds: float) -> Finding:
    """Args: ahead_seconds: how far the clock of Redis is ahead of this machine's."""
    found = f"Redis' and this machine's differ by {abs(ahead_seconds):.1f} s."
    if abs(ahead_seconds) < CLOCK_DIFFERENCE_SECONDS:
        return fine("clock", found)
    return warning(
        "clock",
        found,
        "Synchronise them (NTP). Leases go by Redis' clock alone; how long a client is connected, "
        "and how old an encrypted message may be, go by both.",
    )


def scripts(store: RedisStore) -> Finding:
    """Open a lease, renew it, give it up."""
    lease = f"{socket.gethostname()}:{os.getpid()}:doctor-{uuid4().hex[:8]}"
    try:
        store.run(OpenLease(lease, LEASE_SECONDS))
        held = store.run(Beat(lease, LEASE_SECONDS)) is not LeaseState.LAPSED
        store.run(Lapse(lease))
    except (StoreUnavailable, redis.ResponseError) as failure:
        return error(
            "scripts",
            str(failure),
            "Redis must let its user run EVALSHA and EVAL and write keys under KEY_PREFIX.",
        )
    if not held:
        return error(
            "scripts",
            "A lease was gone as soon as it was opened.",
            "Something else deletes keys under KEY_PREFIX. Choose a prefix of your own.",
        )
    return fine("scripts", "A lease was opened, renewed and given up.")
