"""Wrong settings are found by ``manage.py check``, each with an id and the way to mend it."""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.test import override_settings

from tests.test_conf import MEMORY, STOCK_MEMORY, VALUES, redis_layer
from wsadapter import checks
from wsadapter.conf import RULES
from wsadapter.wire.lanes import Priority

REDIS = redis_layer(["redis://localhost:6379/0"])
CORE = "channels_redis.core.RedisChannelLayer"
GOOD = {"ALLOW_ANONYMOUS": True}


def found(*, deploy: bool = False, **settings: Any) -> list[CheckMessage]:
    """What the checks of wsadapter say, as ``manage.py check`` collects them."""
    with override_settings(**settings):
        messages = run_checks(
            tags=[Tags.compatibility, Tags.security], include_deployment_checks=deploy
        )
    return [message for message in messages if (message.id or "").startswith("wsadapter.")]


def ids(**settings: Any) -> list[str]:
    return sorted((message.id or "").removeprefix("wsadapter.") for message in found(**settings))


def the_only(**settings: Any) -> CheckMessage:
    messages = found(**settings)
    assert len(messages) == 1, messages
    return messages[0]


@pytest.mark.parametrize("layers", [MEMORY, STOCK_MEMORY, REDIS, redis_layer()])
def test_a_right_configuration_is_left_in_peace(layers: Any) -> None:
    assert ids(CHANNEL_LAYERS=layers) == []
    assert ids(CHANNEL_LAYERS=layers, WSADAPTER={}) == []


@override_settings(CHANNEL_LAYERS=REDIS, WSADAPTER=GOOD)
def test_a_right_deployment_is_left_in_peace() -> None:
    assert ids(deploy=True) == []


# E001


def test_an_unknown_key_is_named_with_the_one_that_was_meant() -> None:
    message = the_only(WSADAPTER={"HEARTBEAT_INTERVALL": 10})
    assert message.id == "wsadapter.E001"
    assert "'HEARTBEAT_INTERVALL'" in message.msg
    assert message.hint == "Did you mean 'HEARTBEAT_INTERVAL'?"


@pytest.mark.parametrize("key", ["ZZZ", 7, None, ("a",)])
def test_a_key_like_none_of_ours_gets_the_list_of_them(key: Any) -> None:
    message = the_only(WSADAPTER={key: 10})
    assert message.id == "wsadapter.E001"
    assert all(known in (message.hint or "") for known in RULES)


def test_every_wrong_key_is_told() -> None:
    assert ids(WSADAPTER={"A": 1, "B": 2, "BEAT_SECONDS": 0}) == ["E001", "E001", "E002"]


# E002

NUMBERS: list[Any] = [0, -1, "10", None, True, math.nan, math.inf, -math.inf, [10], 1j]
SIZES: list[Any] = [0, -1, 1.5, "10", None, True, 1e6, math.inf]
FLAGS: list[Any] = [0, 1, None, "False", ""]
SOURCES: list[Any] = ["user_id", "query:", "cookie:user_id", "header", ":", "", 7, True, b"query:a"]

WRONG: dict[str, list[Any]] = {
    "HEARTBEAT": ["AUTO", "", None, True, 10, ["auto"]],
    "HEARTBEAT_INTERVAL": NUMBERS,
    "HEARTBEAT_TIMEOUT": NUMBERS,
    "ALLOWED_ORIGINS": [
        "https://shop.example",
        "shop",
        "shop.example",
        "tests.test_checks",
        "tests.test_checks.GOOD",
        "tests.no_such_module.allowed",
        ["shop.example"],
        ["https://a.example", 7],
        [None],
        7,
        b"https://a.example",
    ],
    "ALLOW_NO_ORIGIN": FLAGS,
    "ALLOW_ANONYMOUS": FLAGS,
    "USER_ID_FROM": SOURCES,
    "CLIENT_ID_FROM": SOURCES,
    "MAX_MESSAGE_SIZE": SIZES,
    "MAX_OUTBOX_SIZE": SIZES,
    "PREPARED_FRAMES": FLAGS,
    "JOIN_FRAMES": FLAGS,
    "PRIORITIES": [None, "low", [("a", Priority.LOW)], {"a": "low"}, {"a": 3}, {7: Priority.LOW}],
    "COMPRESSION": [None, 10, -1, 1.0, "on", "1"],
    "COMPRESSION_LEVEL": [0, 10, -1, 1.0, True, "1", None],
    "CHANNEL_LAYER": ["", None, 7, ["default"]],
    "REDIS_URL": ["", "localhost", "localhost:6379", "http://localhost", 7, True, ["redis://a"]],
    "REDIS_TIMEOUT": NUMBERS,
    "REDIS_POOL_SIZE": SIZES,
    "KEY_PREFIX": ["", "wsadapter", "{}", "{a", "a}", "}a{", None, 7, b"{a}"],
    "LEASE_SECONDS": NUMBERS,
    "BEAT_SECONDS": NUMBERS,
    "GRACE_SECONDS": [-1, "5", None, True, math.nan, math.inf, [5], 1j],
    "DRAIN_SECONDS": [-1, float("inf"), float("nan"), True, "8", None, [8]],
    "MAX_CONNECTIONS": [0, -1, 1.5, True, "50", [50]],
}


def allowed(origin: str, scope: Any) -> bool:
    return False


RIGHT: dict[str, list[Any]] = {
    "HEARTBEAT": ["auto", "always", "never"],
    "HEARTBEAT_INTERVAL": [0.1, 3600],
    "ALLOWED_ORIGINS": [
        (),
        None,
        [],
        {"https://a.example"},
        ["https://*.a.example", "http://b.example:81"],
        "*",
        ["*"],
        allowed,
        "tests.test_checks.allowed",
    ],
    "GRACE_SECONDS": [0, 0.5, 60],
    "DRAIN_SECONDS": [0, 0.5, 60],
    "MAX_CONNECTIONS": [None, 1, 50_000],
    "USER_ID_FROM": [None, "query:user_id", "header:X-User-Id"],
    "REDIS_URL": [None, "redis://a", "rediss://:secret@a:1/0", "unix:///run/redis.sock"],
    "KEY_PREFIX": ["{a}", "live:{shop}:ws", "{{a}"],
}


def each(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(key, value, id=f"{key}={value!r}"[:60])
        for key, values in table.items()
        for value in values
    ]


def test_every_key_has_its_wrong_values() -> None:
    assert set(WRONG) == set(RULES)


@pytest.mark.parametrize(("key", "value"), each(WRONG))
def test_a_wrong_value_is_told_with_what_is_expected(key: str, value: Any) -> None:
    messages = {message.id: message for message in found(WSADAPTER={key: value})}
    message = messages["wsadapter.E002"]
    assert f'WSADAPTER["{key}"]' in message.msg
    assert f'Set WSADAPTER["{key}"] to ' in (message.hint or "")
    assert repr(RULES[key].default) in (message.hint or "")
    assert messages.keys() <= {"wsadapter.E002", "wsadapter.E003"}


@pytest.mark.parametrize(
    ("key", "value"), each({**RIGHT, **{key: [value] for key, (value, _) in VALUES.items()}})
)
def test_a_right_value_is_left_in_peace(key: str, value: Any) -> None:
    layers = {**MEMORY, "other": MEMORY["default"]}
    assert ids(CHANNEL_LAYERS=layers, WSADAPTER={"LEASE_SECONDS": 60, key: value}) == []


@pytest.mark.parametrize("url", ["http://:secret@cache:6379/0", "user:secret@cache:6379"])
def test_no_password_is_shown(url: str) -> None:
    message = the_only(WSADAPTER={"REDIS_URL": url})
    assert message.id == "wsadapter.E002"
    assert "secret" not in str(message)


# E003 and E004


@pytest.mark.parametrize("layers", [{}, {"other": MEMORY["default"]}, {"default": {}}])
def test_a_missing_layer_is_told_with_one_to_copy(layers: Any) -> None:
    message = the_only(CHANNEL_LAYERS=layers)
    assert message.id == "wsadapter.E003"
    assert "CHANNEL_LAYERS has no 'default'" in message.msg
    assert "wsadapter.layers.RedisChannelLayer" in (message.hint or "")
    assert 'WSADAPTER["CHANNEL_LAYER"]' in (message.hint or "")


def test_a_missing_layer_of_another_alias_is_named() -> None:
    message = the_only(WSADAPTER={"CHANNEL_LAYER": "realtime"})
    assert message.id == "wsadapter.E003"
    assert "'realtime'" in message.msg


def test_the_advice_given_for_a_missing_layer_is_good() -> None:
    hint = the_only(CHANNEL_LAYERS={}).hint or ""
    advised = eval(hint[hint.index("{") : hint.index("}}}") + 3])
    assert ids(CHANNEL_LAYERS=advised) == []


def test_a_layer_that_reaches_others_without_a_redis_is_told() -> None:
    message = the_only(CHANNEL_LAYERS=redis_layer(None, "shop.layers.OwnLayer"))
    assert message.id == "wsadapter.E004"
    assert "shop.layers.OwnLayer" in message.msg
    assert 'WSADAPTER["REDIS_URL"]' in (message.hint or "")


def test_a_layer_of_somebody_else_with_a_redis_is_fine() -> None:
    own = redis_layer(None, "shop.layers.OwnLayer")
    assert ids(CHANNEL_LAYERS=own, WSADAPTER={"REDIS_URL": "redis://localhost"}) == []


# E005 and E006


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"LEASE_SECONDS": 9, "BEAT_SECONDS": 5}, ["E005"]),
        ({"LEASE_SECONDS": 9}, ["E005"]),
        ({"BEAT_SECONDS": 8}, ["E005"]),
        ({"LEASE_SECONDS": 10, "BEAT_SECONDS": 5}, []),
        ({"LEASE_SECONDS": 9, "BEAT_SECONDS": "5"}, ["E002"]),
    ],
    ids=repr,
)
def test_a_lease_lasts_two_beats(given: dict[str, Any], expected: list[str]) -> None:
    assert ids(WSADAPTER=given) == expected


def test_a_short_lease_is_told_in_numbers() -> None:
    message = the_only(WSADAPTER={"LEASE_SECONDS": 0.5})
    assert "(0.5)" in message.msg
    assert "(5)" in message.msg
    assert "LEASE_SECONDS" in (message.hint or "")


@pytest.mark.parametrize("value", [None, [], "text", 5, ["REDIS_URL"], ("a", 1)], ids=repr)
def test_settings_that_are_no_dict_are_told(value: Any) -> None:
    messages = found(WSADAPTER=value, deploy=True)
    error = next(message for message in messages if message.id == "wsadapter.E006")
    assert type(value).__name__ in error.msg
    assert "WSADAPTER = {" in (error.hint or "")


# What is for --deploy alone


@pytest.mark.parametrize("origins", ["*", ["*"], ("https://a.example", "*"), {"*"}], ids=repr)
def test_any_origin_is_warned_of(origins: Any) -> None:
    given = {**GOOD, "ALLOWED_ORIGINS": origins}
    message = the_only(deploy=True, CHANNEL_LAYERS=REDIS, WSADAPTER=given)
    assert message.id == "wsadapter.W001"
    assert 'WSADAPTER["ALLOWED_ORIGINS"]' in message.msg
    assert "https://" in (message.hint or "")
    assert ids(CHANNEL_LAYERS=REDIS, WSADAPTER=given) == []


@pytest.mark.parametrize("origins", [(), ["https://*.a.example"], allowed])
def test_origins_that_are_said_are_fine(origins: Any) -> None:
    given = {**GOOD, "ALLOWED_ORIGINS": origins}
    assert ids(deploy=True, CHANNEL_LAYERS=REDIS, WSADAPTER=given) == []


def test_users_from_the_request_are_warned_of() -> None:
    given = {**GOOD, "USER_ID_FROM": "query:user_id"}
    message = the_only(deploy=True, CHANNEL_LAYERS=REDIS, WSADAPTER=given)
    assert message.id == "wsadapter.W002"
    assert "WSADAPTER[\"USER_ID_FROM\"] is 'query:user_id'" in message.msg
    assert "gateway" in (message.hint or "")
    assert ids(CHANNEL_LAYERS=REDIS, WSADAPTER=given) == []


def test_anonymous_visitors_have_to_be_decided_about() -> None:
    message = the_only(deploy=True, CHANNEL_LAYERS=REDIS, WSADAPTER={})
    assert message.id == "wsadapter.W003"
    assert 'WSADAPTER["ALLOW_ANONYMOUS"]' in message.msg
    assert ids(CHANNEL_LAYERS=REDIS, WSADAPTER={}) == []


@pytest.mark.parametrize("value", [True, False])
def test_a_decision_about_anonymous_visitors_is_fine(value: bool) -> None:
    given = {"ALLOW_ANONYMOUS": value}
    assert ids(deploy=True, CHANNEL_LAYERS=REDIS, WSADAPTER=given) == []


@pytest.mark.parametrize(
    "backend",
    [
        "wsadapter.layers.InMemoryChannelLayer",
        "wsadapter.layers.memory.InMemoryChannelLayer",
        "channels.layers.InMemoryChannelLayer",
    ],
)
def test_a_layer_of_one_process_is_warned_of(backend: str) -> None:
    layers = {"default": {"BACKEND": backend}}
    message = the_only(deploy=True, CHANNEL_LAYERS=layers, WSADAPTER=GOOD)
    assert message.id == "wsadapter.W004"
    assert backend in message.msg
    assert "wsadapter.layers.RedisChannelLayer" in (message.hint or "")
    assert ids(CHANNEL_LAYERS=layers, WSADAPTER=GOOD) == []


# W005: redis-py 8 has a default timeout that channels_redis' core layer runs into


@pytest.mark.parametrize(
    ("hosts", "version", "expected"),
    [
        (["redis://localhost"], "8.1.0", ["W005"]),
        (None, "8.1.0", ["W005"]),
        ([{"address": "redis://localhost"}], "8.1.0", ["W005"]),
        ([{"address": "redis://localhost", "socket_timeout": 10}], "8.1.0", []),
        (
            [{"address": "redis://localhost", "socket_timeout": 10}, "redis://b"],
            "10.0.0",
            ["W005"],
        ),
        (["redis://localhost"], "7.2.1", []),
    ],
)
def test_the_core_layers_timeout_is_warned_of(
    hosts: Any, version: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.__version__", version)
    assert ids(CHANNEL_LAYERS=redis_layer(hosts, CORE)) == expected


def test_other_layers_do_not_have_that_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.__version__", "8.1.0")
    pubsub = "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert ids(CHANNEL_LAYERS=redis_layer(["redis://localhost"], pubsub)) == []


def test_the_hint_about_the_timeout_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.__version__", "8.1.0")
    message = the_only(CHANNEL_LAYERS=redis_layer(["redis://localhost"], CORE))
    assert '"socket_timeout": 10' in (message.hint or "")


# The seams

IDS = re.findall(r"\b[EW]\d{3}\b", checks.__doc__ or "")


def test_the_ids_are_listed_once_in_the_module_and_used_once() -> None:
    used = Counter(re.findall(r'id="wsadapter\.([EW]\d{3})"', inspect.getsource(checks)))
    assert used == Counter(IDS)
    assert set(used.values()) == {1}


@pytest.mark.parametrize("id", IDS)
def test_every_id_is_shown_by_a_test(id: str) -> None:
    assert f'{id}"' in Path(__file__).read_text()
