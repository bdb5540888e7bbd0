"""Channel layers that look right, and are not."""

from __future__ import annotations

from typing import Any

from wsadapter.layers import InMemoryChannelLayer


class Broken(InMemoryChannelLayer):
    """Cannot be made."""

    def __init__(self, **config: Any) -> None:
        raise ValueError("no such option")
