"""Channel layers that fan out once per process, and the way to publish on any layer."""

from __future__ import annotations

from wsadapter.layers.memory import InMemoryChannelLayer
from wsadapter.layers.redis import RedisChannelLayer

__all__ = ["InMemoryChannelLayer", "RedisChannelLayer"]
