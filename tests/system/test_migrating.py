"""Both sides of the diffs in docs/migrating.md run, and a browser sees the same from both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.markdown import DOCS, Block
from tests.redis_server import RedisServer
from tests.shop import Shop

pytestmark = pytest.mark.xdist_group("migrating")  # the project is made once

DIFFS = [block for block in DOCS["migrating"].blocks if block.language == "diff"]
SETTINGS = """# shop/settings.py, at its end
INSTALLED_APPS = [*INSTALLED_APPS, "channels", "wsadapter"]
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": ["redis://localhost:6379/0"]},
    }
}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Shop:
    url = f"redis://127.0.0.1:{redis_server.port}/8"
    shop = Shop(tmp_path_factory.mktemp("migrating"), redis_url=url)
    shop.type([Block("", "python", SETTINGS)])
    shop.manage("migrate")
    return shop


def red_room(port: int, *, headers: Mapping[str, str] | None = None) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{port}/ws/rooms/red/",
        origin=Origin(f"http://127.0.0.1:{port}"),
        additional_headers=headers,
    )


def next_text(connection: ClientConnection) -> Any:
    """The next message of the application."""
    while True:
        message = json.loads(connection.recv(15))
        if not message.get("type", "").startswith("ws:"):
            return message["text"]


def test_every_diff_is_of_a_file() -> None:
    assert [diff.after.path for diff in DIFFS] == [diff.before.path for diff in DIFFS]
    assert None not in [diff.after.path for diff in DIFFS]


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_room_before_and_after(shop: Shop, side: str) -> None:
    shop.type(getattr(diff, side) for diff in DIFFS)
    with (
        shop.uvicorn("shop.chat_asgi:application") as port,
        red_room(port) as anna,
        red_room(port) as ben,
    ):
        anna.send(json.dumps({"text": "hello"}))
        assert next_text(anna) == next_text(ben) == "hello"
        ben.send(json.dumps({"text": "hello, Anna"}))
        assert next_text(anna) == next_text(ben) == "hello, Anna"


def test_a_notice_reaches_the_user(shop: Shop) -> None:
    shop.type(diff.after for diff in DIFFS)
    cookie = {"Cookie": f"sessionid={shop.login()}"}
    with (
        shop.uvicorn("shop.chat_asgi:application") as port,
        red_room(port, headers=cookie) as ada,
    ):
        assert json.loads(ada.recv(15))["type"] == "ws:welcome"
        shop.shell(
            "from django.contrib.auth.models import User\n"
            "from shop.notices import tell\n"
            "tell(User.objects.get(username='ada'), 'your order is paid')"
        )
        assert next_text(ada) == "your order is paid"
