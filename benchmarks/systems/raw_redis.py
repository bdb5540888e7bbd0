"""The small servers in python/ and node/: what they are told, and how to push through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import redis

from benchmarks.system import Place, Publisher


class RedisPublisher(Publisher):
    """One connection to Redis; a broadcast of several payloads is one round trip."""

    def __init__(self, place: Place) -> None:
        self._redis = redis.Redis.from_url(place.redis_url)

    def broadcast(self, payloads: Sequence[str]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for payload in payloads:
                pipeline.publish("broadcast", payload)
            pipeline.execute()

    def send_to_user(self, user: str, payload: str) -> None:
        self._redis.publish(f"user:{user}", payload)

    def close(self) -> None:
        self._redis.close()


def server_environment(place: Place) -> Mapping[str, str]:
    """What the servers in python/ and node/ are told."""
    return {
        "BENCH_PORT": str(place.port),
        "BENCH_REDIS_URL": place.redis_url,
        "BENCH_HEARTBEATS": "yes" if place.heartbeats else "",
    }
