"""Conversations with one client: an upload that says how far it is, and a status that changes."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

from wsadapter import (
    Connection,
    HealthPolicy,
    InvalidMessage,
    StoreUnavailable,
    aonline_count,
    aonline_user_count,
    websocket,
)

MAX_MEBIBYTES = 256
MAX_BYTES = MAX_MEBIBYTES * 1024**2


# Not compressed: most large files are already. Not pushed to: this client came to upload.
@websocket(compression=False, pushes=False, health=HealthPolicy(max_silence_seconds=30))
async def upload(connection: Connection, size: int) -> None:
    """Hash a file while it arrives; its size tells whether it arrived whole."""
    if size > MAX_BYTES:
        raise InvalidMessage("invalid", f"A file may have at most {MAX_MEBIBYTES} MiB here.")
    digest, received = sha256(), 0

    async def progress() -> dict[str, Any]:
        return {"type": "upload.progress", "bytes": received}

    telling = connection.create_task(connection.send_periodically(progress, interval=0.2))
    try:
        async for chunk in connection.reader():
            digest.update(chunk)
            received += len(chunk)
            if received > size:
                break
    finally:  # also when the client cancels, or its network is gone
        telling.cancel()
    if received != size:
        raise InvalidMessage("invalid", f"Expected {size} bytes, got {received}.")
    result = {"type": "upload.done", "bytes": received, "sha256": digest.hexdigest()}
    await connection.send(result)


async def get_status() -> dict[str, Any]:
    load = round(os.getloadavg()[0], 1)
    status: dict[str, Any] = {"type": "status", "load": load}
    try:
        status["online"] = await aonline_count()
        status["people"] = await aonline_user_count()
    except StoreUnavailable:
        pass  # raised from here, it would end the connection
    return status
