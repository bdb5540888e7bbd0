"""The address of the demo: one listening socket, or a sentence that says why there is none.

`python3 demo_project/port.py 8000` only checks. It needs nothing but the standard library, since
`scripts/demo` runs it before there is a virtual environment.
"""

from __future__ import annotations

import errno
import os
import socket
import sys

HOST = "127.0.0.1"
DEFAULT = 8000


class PortUnusable(Exception):
    """The sentence for whoever started the demo."""


def wanted(arguments: list[str]) -> int:
    """The port asked for: `--port 9000`, `--port=9000`, else PORT, else 8000."""
    text = os.environ.get("PORT", str(DEFAULT))
    if arguments and arguments[0].startswith("--port="):
        text, arguments = arguments[0][len("--port=") :], arguments[1:]
    elif arguments and arguments[0] == "--port":
        text, arguments = "".join(arguments[1:2]), arguments[2:]
    if arguments or not text.isdigit() or not 0 < int(text) < 65536:
        raise PortUnusable("Usage: sh scripts/demo [--port 9000]; or PORT=9000 sh scripts/demo")
    return int(text)


def listen(port: int) -> socket.socket:
    """A socket that listens on the port.

    Raises:
        PortUnusable: another program has it, or it may not be had.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortUnusable(_why(port, error)) from error
    return listener


def _why(port: int, error: OSError) -> str:
    choose = f"Choose another port: sh scripts/demo --port {_other(port)}"
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken: another program listens on {HOST}:{port}. {choose}"
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than you have. {choose}"
    return f"{HOST}:{port} cannot be listened on: {error.strerror}. {choose}"


def _other(port: int) -> int:
    return 9000 if port != 9000 else 8001


if __name__ == "__main__":
    try:
        listen(wanted(sys.argv[1:])).close()
    except PortUnusable as error:
        sys.exit(str(error))
