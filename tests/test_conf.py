"""The settings: defaults, types, and where presence lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from wsadapter import conf
from wsadapter.conf import RULES, Settings, settings
from wsadapter.layers import InMemoryChannelLayer
from wsadapter.store import MemoryStore, RedisStore
from wsadapter.wire.heartbeat import HeartbeatMode
from wsadapter.wire.lanes import Priority

#: For each key, a valid value that is not the default, and what the property makes of it.
VALUES: dict[str, tuple[Any, Any]] = {
    "HEARTBEAT": ("never", HeartbeatMode.NEVER),
    "HEARTBEAT_INTERVAL": (3, 3.0),
    "HEARTBEAT_TIMEOUT": (0.5, 0.5),
    "ALLOWED_ORIGINS": (["https://shop.example"], ["https://shop.example"]),
    "ALLOW_NO_ORIGIN": (False, False),
    "ALLOW_ANONYMOUS": (False, False),
    "USER_ID_FROM": ("header:X-User-Id", "header:X-User-Id"),
    "CLIENT_ID_FROM": ("query:client", "query:client"),
    "MAX_MESSAGE_SIZE": (1, 1),
    "MAX_OUTBOX_SIZE": (2, 2),
    "PRIORITIES": ({"chat.typing": Priority.LOW}, {"chat.typing": Priority.LOW}),
    "PREPARED_FRAMES": (False, False),
    "JOIN_FRAMES": (False, False),
    "COMPRESSION": (6, 6),
    "COMPRESSION_LEVEL": (9, 9),
    "CHANNEL_LAYER": ("other", "other"),
    "REDIS_URL": ("redis://localhost:6379/9", "redis://localhost:6379/9"),
    "REDIS_TIMEOUT": (1, 1.0),
    "REDIS_POOL_SIZE": (3, 3),
    "KEY_PREFIX": ("{shop}", "{shop}"),
    "LEASE_SECONDS": (30, 30.0),
    "BEAT_SECONDS": (10, 10.0),
    "GRACE_SECONDS": (0, 0.0),
    "DRAIN_SECONDS": (0, 0.0),
    "MAX_CONNECTIONS": (50, 50),
}

DEFAULTS: dict[str, Any] = {
    "HEARTBEAT": HeartbeatMode.AUTO,
    "HEARTBEAT_INTERVAL": 10.0,
    "HEARTBEAT_TIMEOUT": 10.0,
    "ALLOWED_ORIGINS": (),
    "ALLOW_NO_ORIGIN": True,
    "ALLOW_ANONYMOUS": True,
    "USER_ID_FROM": None,
    "CLIENT_ID_FROM": None,
    "MAX_MESSAGE_SIZE": 65536,
    "MAX_OUTBOX_SIZE": 1048576,
    "PRIORITIES": {},
    "PREPARED_FRAMES": True,
    "JOIN_FRAMES": True,
    "COMPRESSION": False,
    "COMPRESSION_LEVEL": 1,
    "CHANNEL_LAYER": "default",
    "REDIS_URL": None,
    "REDIS_TIMEOUT": 2.0,
    "REDIS_POOL_SIZE": 20,
    "KEY_PREFIX": "{wsadapter}",
    "LEASE_SECONDS": 15.0,
    "BEAT_SECONDS": 5.0,
    "GRACE_SECONDS": 5.0,
    "DRAIN_SECONDS": 8.0,
    "MAX_CONNECTIONS": None,
}

MEMORY = {"default": {"BACKEND": "wsadapter.layers.InMemoryChannelLayer"}}
STOCK_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def redis_layer(hosts: Any = None, backend: str = "wsadapter.layers.RedisChannelLayer") -> Any:
    config = {} if hosts is None else {"hosts": hosts}
    return {"default": {"BACKEND": backend, "CONFIG": config}}


def own_rule(origin: str, scope: Mapping[str, Any]) -> bool:
    return True


def properties() -> set[str]:
    return {name for name, value in vars(Settings).items() if isinstance(value, property)}


def test_every_key_has_a_property_and_every_property_a_key() -> None:
    assert {key.lower() for key in RULES} == properties() - {"given"}


def test_these_tables_know_every_key() -> None:
    assert set(VALUES) == set(DEFAULTS) == set(RULES)


@pytest.mark.parametrize("key", RULES)
def test_every_default_is_valid_and_has_its_type(key: str) -> None:
    assert RULES[key].valid(RULES[key].default)
    value = getattr(settings, key.lower())
    assert value == DEFAULTS[key]
    assert type(value) is type(DEFAULTS[key])


@pytest.mark.parametrize("key", RULES)
def test_a_key_is_read_anew_each_time(key: str) -> None:
    given, expected = VALUES[key]
    with override_settings(WSADAPTER={key: given}):
        value = getattr(settings, key.lower())
        assert value == expected
        assert type(value) is type(expected)
    assert getattr(settings, key.lower()) == DEFAULTS[key]


@pytest.mark.parametrize("key", RULES)
def test_every_property_is_typed(key: str) -> None:
    assert "return" in get_type_hints(getattr(Settings, key.lower()).fget)


@pytest.mark.parametrize("value", [None, {}, [], "text", 5, ["REDIS_URL"]], ids=repr)
def test_what_is_no_dict_means_the_defaults_until_the_check_says_so(value: Any) -> None:
    with override_settings(WSADAPTER=value):
        assert settings.heartbeat_interval == 10
        assert dict(settings.given) == {}


@pytest.mark.parametrize(
    ("value", "origins"),
    [("*", ["*"]), (None, []), (["https://a.example"], ["https://a.example"])],
)
def test_origins_are_a_collection(value: Any, origins: list[str]) -> None:
    with override_settings(WSADAPTER={"ALLOWED_ORIGINS": value}):
        assert settings.allowed_origins == origins


def test_origins_may_be_the_path_of_a_callable() -> None:
    with override_settings(WSADAPTER={"ALLOWED_ORIGINS": f"{__name__}.own_rule"}):
        assert settings.allowed_origins is own_rule


@pytest.mark.parametrize(
    ("level", "valid"),
    [(1, True), (9, True), (0, False), (10, False), (-1, False), (True, False), (1.0, False)],
    ids=repr,
)
def test_a_compression_level_is_one_that_compresses(level: Any, valid: bool) -> None:
    """zlib's 0 would not, and its -1 is another level from version to version."""
    assert RULES["COMPRESSION_LEVEL"].valid(level) is valid


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ({}, True),
        ({"chat.typing": Priority.LOW, "chat.removed": Priority.URGENT}, True),
        ({"chat.typing": "low"}, False),
        ({"chat.typing": 3}, False),
        ({"chat.typing": None}, False),
        ({"": Priority.LOW}, False),
        ({7: Priority.LOW}, False),
        ([("chat.typing", Priority.LOW)], False),
        (Priority.LOW, False),
        (None, False),
    ],
    ids=repr,
)
def test_priorities_are_those_of_message_types(value: Any, valid: bool) -> None:
    assert RULES["PRIORITIES"].valid(value) is valid


# The layer


def test_the_layer_is_that_of_the_alias() -> None:
    layers = {**MEMORY, "other": MEMORY["default"]}
    with override_settings(CHANNEL_LAYERS=layers, WSADAPTER={"CHANNEL_LAYER": "other"}):
        other = conf.layer()
        assert isinstance(other, InMemoryChannelLayer)
    with override_settings(CHANNEL_LAYERS=layers):
        assert conf.layer() is not other


def test_a_missing_layer_is_named() -> None:
    with (
        override_settings(CHANNEL_LAYERS={}),
        pytest.raises(ImproperlyConfigured, match="CHANNEL_LAYERS has no 'default'"),
    ):
        conf.layer()


# Where presence lives

HOST = "redis://cache.example:6380/3"


@pytest.mark.parametrize(
    ("layers", "given", "address"),
    [
        (MEMORY, {}, None),
        (STOCK_MEMORY, {}, None),
        ({}, {}, None),
        (MEMORY, {"REDIS_URL": HOST}, {"address": HOST}),
        (redis_layer(["redis://other:1/1"]), {"REDIS_URL": HOST}, {"address": HOST}),
        (redis_layer([HOST, "redis://second:1/1"]), {}, {"address": HOST}),
        (redis_layer([{"address": HOST}]), {}, {"address": HOST}),
        (redis_layer([{"host": "h", "port": 1}]), {}, {"host": "h", "port": 1}),
        (redis_layer([HOST], "channels_redis.core.RedisChannelLayer"), {}, {"address": HOST}),
        (redis_layer([HOST], "shop.layers.OwnLayer"), {}, {"address": HOST}),
        (redis_layer(None, "shop.layers.OwnLayer"), {}, None),
    ],
)
def test_presence_lives_where_redis_is_configured(
    layers: Any, given: dict[str, Any], address: Any
) -> None:
    with override_settings(CHANNEL_LAYERS=layers, WSADAPTER=given):
        assert conf.redis_host() == address


@pytest.mark.parametrize(
    "backend",
    [
        "wsadapter.layers.RedisChannelLayer",
        "wsadapter.layers.redis.RedisChannelLayer",
        "channels_redis.core.RedisChannelLayer",
        "channels_redis.pubsub.RedisPubSubChannelLayer",
    ],
)
def test_a_redis_layer_without_hosts_is_on_this_machine(backend: str) -> None:
    with override_settings(CHANNEL_LAYERS=redis_layer(None, backend)):
        host = conf.redis_host()
    assert host is not None
    assert "localhost" in str(host)


def test_the_pool_is_made_by_the_settings() -> None:
    given = {"REDIS_URL": HOST, "REDIS_TIMEOUT": 0.5, "REDIS_POOL_SIZE": 3}
    with override_settings(WSADAPTER=given):
        pool = conf.redis_pool()
    assert pool is not None
    assert (pool.timeout_seconds, pool.max_connections) == (0.5, 3)
    assert "cache.example:6380" in pool.address


def test_without_redis_there_is_no_pool() -> None:
    assert conf.redis_pool() is None


@pytest.mark.parametrize("layers", [MEMORY, STOCK_MEMORY])
def test_an_in_memory_layer_has_a_store_in_memory(layers: Any) -> None:
    with override_settings(CHANNEL_LAYERS=layers):
        assert isinstance(conf.store(), MemoryStore)
        assert conf.store() is conf.store()


def test_with_redis_the_store_is_there_whatever_the_layer() -> None:
    with override_settings(WSADAPTER={"REDIS_URL": HOST, "KEY_PREFIX": "{shop}"}):
        store = conf.store()
    assert isinstance(store, RedisStore)
    assert store.keys.nodes == "{shop}:nodes"


def test_changed_settings_make_a_new_store() -> None:
    before = conf.store()
    with override_settings(WSADAPTER={"REDIS_URL": HOST}):
        assert conf.store() is not before
    assert isinstance(conf.store(), MemoryStore)


def test_other_settings_leave_the_store_alone() -> None:
    before = conf.store()
    with override_settings(LANGUAGE_CODE="de"):
        assert conf.store() is before


def test_a_layer_that_reaches_others_needs_a_redis_for_presence() -> None:
    layers = {"default": {"BACKEND": f"{__name__}.OwnLayer"}}
    with (
        override_settings(CHANNEL_LAYERS=layers),
        pytest.raises(ImproperlyConfigured, match=r'set WSADAPTER\["REDIS_URL"\]'),
    ):
        conf.store()


class OwnLayer:
    """A layer of somebody else, on a message broker that wsadapter does not know."""


@pytest.mark.parametrize(
    ("given", "setting", "level"),
    [
        *((None, False, 0), (None, True, 3), (None, 6, 6)),
        *((False, True, 0), (True, False, 3), (9, False, 9), (1, False, 1)),
    ],
)
def test_compression_stands_for_a_level(given: Any, setting: Any, level: int) -> None:
    with override_settings(WSADAPTER={"COMPRESSION": setting, "COMPRESSION_LEVEL": 3}):
        assert conf.compression_level(given) == level
