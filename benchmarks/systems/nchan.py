"""nginx with nchan: publishing is an HTTP request, and messages stay in nginx's own memory."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.system import Family, Place, Publisher, System

# Where Debian, Fedora and Homebrew put the modules of nginx.
MODULES = (
    Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/lib64/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/share/nginx/modules/ngx_nchan_module.so"),
    Path("/opt/homebrew/lib/nginx/modules/ngx_nchan_module.so"),
)

PING_SECONDS = 30

# Messages live for as long as the slowest round takes, and a new client gets none from before it.
CONFIGURATION = """
load_module {module};
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{
    worker_connections {files};
    multi_accept on;
}}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/bodies;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    nchan_shared_memory_size 256m;
    nchan_message_buffer_length 1000;
    nchan_message_timeout 60s;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location /ws/ {{
            nchan_subscriber websocket;
            nchan_channel_id broadcast;
            nchan_subscriber_first_message newest;
            nchan_websocket_ping_interval {ping_seconds};
        }}
        location /user/ {{
            nchan_subscriber websocket;
            nchan_channel_id broadcast user:$arg_user;
            nchan_subscriber_first_message newest;
            nchan_websocket_ping_interval {ping_seconds};
        }}
        location /publish/ {{
            nchan_publisher http;
            nchan_channel_id $arg_channel;
        }}
    }}
}}
"""


def nginx() -> str | None:
    """The executable, which stands where only the administrator's PATH leads to."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def module() -> Path | None:
    return next((path for path in MODULES if path.exists()), None)


class Nchan(System):
    """Its subscribers are on one channel: with a second one, a broadcast takes twice the time.

    nginx has no setting that switches Nagle's algorithm off for them. The kernel therefore joins
    the frames of a burst while it waits for an acknowledgement, and the server's core is not busy
    all that time.
    """

    name = "nginx nchan (no Redis)"
    family: Family = "peer"
    measures = frozenset({"closed", "burst", "connect", "idle"})

    def missing(self) -> str | None:
        if nginx() is None:
            return (
                "nginx is not installed: on Debian, run `apt-get install nginx libnginx-mod-nchan`."
            )
        if module() is None:
            return "nginx has no nchan: on Debian, run `apt-get install libnginx-mod-nchan`."
        return None

    def prepare(self, place: Place) -> None:
        configuration = CONFIGURATION.format(
            module=module(),
            user="user root;" if os.geteuid() == 0 else "",
            files=open_files(),
            directory=place.directory,
            port=place.port,
            ping_seconds=PING_SECONDS if place.heartbeats else 0,
        )
        configuration_path(place).write_text(configuration)

    def command(self, place: Place) -> list[str]:
        executable = nginx()
        assert executable is not None, "nginx is missing, which `missing` says"
        return [executable, "-p", str(place.directory), "-c", str(configuration_path(place))]

    def publisher(self, place: Place) -> Publisher:
        return HttpPublisher(place)


class NchanUsers(Nchan):
    """Its subscribers are on the channel of their user as well."""

    name = "nginx nchan (no Redis), channel per user"
    path = "/user/?user=1"
    measures = frozenset({"targeted"})


def configuration_path(place: Place) -> Path:
    return place.directory / "nginx.conf"


def open_files(most: int = 20_000) -> int:
    """How many files a worker of nginx may open; it sets memory aside for each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


class HttpPublisher(Publisher):
    """One connection that stays open; requests for several payloads leave in one write."""

    def __init__(self, place: Place) -> None:
        self._socket = socket.create_connection(("127.0.0.1", place.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def broadcast(self, payloads: Sequence[str]) -> None:
        self._publish(request("broadcast", payload) for payload in payloads)

    def send_to_user(self, user: str, payload: str) -> None:
        self._publish([request(f"user:{user}", payload)])

    def close(self) -> None:
        self._socket.close()

    def _publish(self, requests: Iterable[bytes]) -> None:
        sent = list(requests)
        self._socket.sendall(b"".join(sent))
        for _ in sent:
            self._read_response()

    def _read_response(self) -> None:
        while (response := split_response(self._received)) is None:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("nginx closed the connection on which messages go to nchan.")
            self._received += chunk
        status, self._received = response
        if status not in {201, 202}:  # delivered to somebody, or to nobody
            raise RuntimeError(f"nchan refused a message with the HTTP status {status}.")


def request(channel: str, payload: str) -> bytes:
    body = payload.encode()
    head = (
        f"POST /publish/?channel={channel} HTTP/1.1\r\n"
        f"Host: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def split_response(received: bytes) -> tuple[int, bytes] | None:
    """The status of the first response and what follows it; None if it is not all there."""
    head, separator, rest = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    length = content_length(head)
    if len(rest) < length:
        return None
    return int(head.split(b" ", 2)[1]), rest[length:]


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"A response without Content-Length came where nchan sends one: {head!r}")


SYSTEMS: list[System] = [Nchan(), NchanUsers()]
