"""One way to call a helper from anywhere: what to send and how is data, and so is the result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import wsadapter
from wsadapter import Receipt

HELPERS: dict[str, Callable[..., Receipt]] = {
    "all": wsadapter.broadcast,
    "user": wsadapter.send_to_user,
    "users": wsadapter.send_to_users,
    "client": wsadapter.send_to_client,
    "group": wsadapter.send_to_group,
}

TWINS: dict[str, Callable[..., Awaitable[Receipt]]] = {
    "all": wsadapter.abroadcast,
    "user": wsadapter.asend_to_user,
    "users": wsadapter.asend_to_users,
    "client": wsadapter.asend_to_client,
    "group": wsadapter.asend_to_group,
}


def send(target: str, data: Any, *, to: Any = None, times: int = 1, **options: Any) -> Any:
    """Call the helper of that target ``times`` times; the last receipt."""
    for _ in range(times):
        receipt = HELPERS[target](*address(target, to), data, **options)
    return as_json(receipt)


async def asend(target: str, data: Any, *, to: Any = None, times: int = 1, **options: Any) -> Any:
    """The twin of `send`."""
    for _ in range(times):
        receipt = await TWINS[target](*address(target, to), data, **options)
    return as_json(receipt)


def address(target: str, to: Any) -> tuple[Any, ...]:
    return () if target == "all" else (to,)


def as_json(receipt: Receipt) -> Mapping[str, Any]:
    return {
        "pending": receipt.pending,
        "processes": receipt.processes,
        "online": receipt.online,
        "reached": bool(receipt),
    }
