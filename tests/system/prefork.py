"""A server process that is there at once, since it is a fork of one that has loaded the site.

python -m tests.system.prefork PORT     serves in a child; when it dies, in another one
"""

from __future__ import annotations

import os
import socket
import sys

import uvicorn

from tests.system.presence_site import application


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        child = os.fork()
        if child == 0:
            config = uvicorn.Config(application, ws="websockets-sansio")
            uvicorn.Server(config).run(sockets=[listener])
            return
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
