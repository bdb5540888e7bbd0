"""One server process of the demo, on a listening socket that its parent made.

The parent keeps the socket open and hands it to every server process. A process that is killed
takes no address with it: a browser that comes back in the same instant is accepted by the other
one, or waits in the socket's queue for the next.

`uvicorn --fd` would take the socket for a Unix one, and then leave small frames waiting for
Nagle's algorithm; a socket made from the number alone knows what it is.
"""

from __future__ import annotations

import os
import socket

import uvicorn

READY = "Listening"
SHUTDOWN_SECONDS = 2


class Server(uvicorn.Server):
    """Says when it listens, which uvicorn does not do for a socket that it was given."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(READY, flush=True)


def serve(file_descriptor: int) -> None:
    config = uvicorn.Config(
        "demo_project.asgi:application",
        ws="websockets-sansio",
        lifespan="off",
        log_level="warning",  # the lines below it would write the panes' tokens into the log
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    Server(config).run(sockets=[socket.socket(fileno=file_descriptor)])


if __name__ == "__main__":
    serve(int(os.environ["DEMO_SOCKET"]))
