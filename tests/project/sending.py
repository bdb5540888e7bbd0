"""One way to call a helper from anywhere: what to send and how is data, and so is the result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
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
    for copy in copies(data, times):
        receipt = HELPERS[target](*address(target, to), copy, **options)
    return as_json(receipt)


async def asend(target: str, data: Any, *, to: Any = None, times: int = 1, **options: Any) -> Any:
    """The twin of `send`."""
    for copy in copies(data, times):
        receipt = await TWINS[target](*address(target, to), copy, **options)
    return as_json(receipt)


def copies(data: Any, times: int) -> Iterator[Any]:
    """The data once as it is, or numbered from 0 on, so that a receiver sees what is missing."""
    if times == 1:
        yield data
    else:
        yield from ({**data, "number": number} for number in range(times))


def address(target: str, to: Any) -> tuple[Any, ...]:
    return () if target == "all" else (to,)


def as_json(receipt: Receipt) -> Mapping[str, Any]:
    return {
        "pending": receipt.pending,
        "processes": receipt.processes,
        "online": receipt.online,
        "reached": bool(receipt),
    }
