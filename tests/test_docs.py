"""What the documentation says of the code is so, and it leaves nothing out."""

from __future__ import annotations

import ast
import inspect
import json
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.dispatch import Signal

import wsadapter
from tests.markdown import CHANGELOG, DECISIONS, DOCS, EVERY_PAGE, README, Markdown
from tests.processes import ROOT
from tests.test_imports import FLOOR_OF, FLOORS, SOURCES, room_of
from wsadapter import errors, signals
from wsadapter.close_codes import CloseCode, should_reconnect
from wsadapter.conf import RULES
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import InvalidMessage
from wsadapter.layers import RedisChannelLayer
from wsadapter.layers.publishing import MOST_BYTES_AT_ONCE, MOST_POSTS_AT_ONCE
from wsadapter.layers.redis import MAX_MESSAGE_AGE_SECONDS
from wsadapter.wire import envelope
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.lanes import Priority
from wsadapter.wire.outbox import Overflow

PACKAGE = ROOT / "wsadapter"
PROTOCOL = DOCS["protocol"]
ARCHITECTURE = DOCS["architecture"]

SOCKET_JS = (PACKAGE / "static/wsadapter/socket.js").read_text()
#: Events of socket.js itself, which never travel.
LOCAL_EVENTS = {"ws:state", "ws:open", "ws:close", "ws:message", "ws:binary"}


def codes_in(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def first_codes(rows: Iterable[list[str]]) -> list[str]:
    return [codes_in(row[0])[0] for row in rows]


def label(page: Markdown) -> str:
    return str(page.path.relative_to(ROOT))


# README


def test_the_settings_table_is_that_of_the_rules() -> None:
    table = {
        codes_in(key)[0]: ast.literal_eval(codes_in(default)[0])
        for key, default, _ in README.table("key")
    }
    assert table == {key: rule.default for key, rule in RULES.items()}
    assert list(table) == list(RULES)


@pytest.mark.parametrize("page", EVERY_PAGE, ids=label)
def test_a_setting_that_is_named_is_one(page: Markdown) -> None:
    named = set(re.findall(r"settings? `([^`]+)`", " ".join(page.text.split())))
    assert named <= RULES.keys() | {"WSADAPTER", "CHANNEL_LAYERS", "SESSION_ENGINE"}


def test_the_layer_options_are_those_of_the_layer() -> None:
    parameters = inspect.signature(RedisChannelLayer).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    table = {
        codes_in(name)[0]: ast.literal_eval(codes_in(default)[0])
        for name, default, _ in README.table("layer option", "With Redis")
    }
    assert table == options
    assert list(table) == list(options)
    assert f"older than {MAX_MESSAGE_AGE_SECONDS} seconds" in README.text


def is_helper(name: str) -> bool:
    return f"a{name}" in wsadapter.__all__ and name != "bulk"  # that is for blocks of them


def test_the_helper_table_is_that_of_the_helpers() -> None:
    helpers = {name for name in wsadapter.__all__ if is_helper(name)}
    rows = README.table("helper")
    assert {call.partition("(")[0] for call in first_codes(rows)} == helpers
    assert {f"a{name}" for name in helpers} == {codes_in(row[3])[0] for row in rows}


@pytest.mark.parametrize("row", README.table("helper"), ids=lambda row: codes_in(row[0])[0])
def test_a_helper_takes_and_returns_what_the_table_says(row: list[str]) -> None:
    call, returns, twin = codes_in(row[0])[0], codes_in(row[2])[0], codes_in(row[3])[0]
    name, _, arguments = call.rstrip(")").partition("(")
    signature = inspect.signature(getattr(wsadapter, name))
    assert returns == signature.return_annotation
    assert returns in inspect.signature(getattr(wsadapter, twin)).return_annotation
    positional = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    told = [argument.partition("=")[0] for argument in arguments.split(", ") if argument]
    assert told == positional[: len(told)]
    assert set(positional) - set(told) <= {"code", "reason"}


def test_the_options_of_everything_that_sends() -> None:
    parameters = inspect.signature(wsadapter.broadcast).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert options.pop("authenticated_only") is False
    told = {codes_in(row[0])[0]: codes_in(row[1])[0] for row in README.table("option")}
    assert told.pop("priority") == f"Priority.{options.pop('priority').name}"
    assert {name: ast.literal_eval(default) for name, default in told.items()} == options
    (priorities,) = (row[2] for row in README.table("option") if "`priority`" in row[0])
    assert [code for code in codes_in(priorities) if code.isupper()] == [p.name for p in Priority]


def test_the_bounds_of_a_bulk() -> None:
    assert MOST_BYTES_AT_ONCE == 1024**2
    assert f"Over {MOST_POSTS_AT_ONCE} messages, or 1 MiB," in README.text


def test_readme_names_every_public_name() -> None:
    named = {code.partition("(")[0] for line in README.prose for code in codes_in(line.text)}
    assert set(wsadapter.__all__) - {"__version__"} <= named


def test_the_error_table_is_of_errors_that_exist() -> None:
    told = set(first_codes(README.table("error"))) - {"ValueError"}
    raised_by_helpers = {"EncodeError", "ReservedType", "StoreUnavailable", "AsyncContextError"}
    assert told == raised_by_helpers
    assert all(issubclass(getattr(errors, name), errors.WSAdapterError) for name in told)


def test_the_class_attributes_are_those_of_the_consumer() -> None:
    own = set(typing.get_type_hints(AdapterConsumer)) & set(vars(AdapterConsumer))
    told = {codes_in(row[0])[0]: codes_in(row[1])[0] for row in README.table("attribute")}
    assert set(told) == own - {"handlers", "incoming_priorities", "incoming_limits"}
    for name, default in told.items():
        assert str(getattr(AdapterConsumer, name)) == default
    for name in ("groups", "channel_layer_alias"):
        assert hasattr(AdapterConsumer, name)
    (overflows,) = (row[2] for row in README.table("attribute") if "`overflow`" in row[0])
    assert [code for code in codes_in(overflows) if code.isupper()] == [o.name for o in Overflow]


def test_the_checks_are_those_that_exist() -> None:
    source = (PACKAGE / "checks.py").read_text()
    raised = re.findall(r'id="(wsadapter\.[EW]\d{3})"', source)
    assert first_codes(README.table("check")) == sorted(raised)


def test_what_can_be_imported_from_where() -> None:
    dotted = {
        code
        for page in EVERY_PAGE
        for line in page.prose
        for code in codes_in(line.text)
        if re.fullmatch(r"wsadapter(\.\w+)+", code) and not re.search(r"\.[EW]\d{3}$", code)
    }
    strings = {
        "wsadapter.handshake",
        "wsadapter.health",
        "wsadapter.frames",
        "wsadapter.priority",
    }  # two loggers, an ASGI extension, a subprotocol
    assert dotted - strings
    for name in dotted - strings:
        assert exists(name), f"{name} does not exist"
    for name in strings:
        assert any(f'"{name}"' in path.read_text() for path in SOURCES)


def exists(dotted: str) -> bool:
    try:
        __import__(dotted)
    except ImportError:
        module, _, name = dotted.rpartition(".")
        return hasattr(__import__(module, fromlist=[name]), name)
    return True


# The wire


def test_the_error_codes_are_those_that_exist() -> None:
    assert first_codes(PROTOCOL.table("code", "Typed messages")) == list(ErrorCode)


def test_the_close_codes_are_those_that_exist() -> None:
    rows = PROTOCOL.table("code", "Closing")
    told = {int(codes_in(row[0])[0]): row[2] for row in rows if codes_in(row[0])}
    assert list(told) == sorted(CloseCode)
    assert told == {code: "yes" if should_reconnect(code) else "no" for code in told}


def test_the_ranges_of_close_codes() -> None:
    rows = PROTOCOL.table("code", "Closing")
    ranges = {row[0]: row[1] for row in rows if re.fullmatch(r"\d{4}–\d{4}", row[0])}
    assert len(ranges) == 4
    for span, comes_back in ranges.items():
        first, last = map(int, span.split("–"))
        answers = {should_reconnect(code) for code in range(first, last + 1)}
        assert answers == {comes_back == "yes"}
    assert {code for code in range(1000, 3000) if not should_reconnect(code)} == {1000, 1009}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=label)
def test_every_close_code_of_a_page_exists(page: Markdown) -> None:
    lines = (line.text for line in page.prose if "–" not in line.text)  # ranges have their test
    named = {int(code) for line in lines for code in re.findall(r"\b3[05]\d\d\b", line)}
    assert named - {3000} <= set(CloseCode)  # 3000 is where the codes begin


def test_the_message_types_are_those_that_exist() -> None:
    sources = [SOCKET_JS, *(path.read_text() for path in SOURCES)]
    spoken = {kind for source in sources for kind in re.findall(r"ws:[a-z]{2,}", source)}
    told = set(re.findall(r"ws:[a-z]+", PROTOCOL.text))
    assert told == spoken - LOCAL_EVENTS


def test_the_examples_are_what_the_server_sends() -> None:
    examples = [json.loads(b.text) for b in PROTOCOL.blocks if b.language == "json"]
    by_type = {example["type"]: example for example in examples}
    welcome, error = by_type["ws:welcome"], by_type["ws:error"]
    failure = InvalidMessage(error["code"], error["message"], path=error["path"], id=error["id"])
    sent = [
        envelope.welcome(welcome["client"]),
        envelope.reply(by_type["ws:reply"]["id"], by_type["ws:reply"]["result"]),
        envelope.failure(failure),
        envelope.PING,
        envelope.GAP,
    ]
    for message in map(json.loads, sent):
        assert message == by_type[message["type"]]
    assert envelope.decode(json.dumps(by_type["chat.say"])).id == 7


def test_the_protocols_numbers_are_the_defaults() -> None:
    for key in ("HEARTBEAT_INTERVAL", "HEARTBEAT_TIMEOUT"):
        assert f"`{key}` seconds ({RULES[key].default})" in PROTOCOL.text.replace("\n", " ")
    assert f"may have {RULES['MAX_MESSAGE_SIZE'].default} bytes" in PROTOCOL.text
    assert "pingAfterMs: 25_000" in SOCKET_JS and "after 25 seconds" in PROTOCOL.text
    assert "pongWithinMs: 10_000" in SOCKET_JS and "after 10 more" in PROTOCOL.text
    assert "backoffBaseMs: 500" in SOCKET_JS and "begins at 0.5 seconds" in PROTOCOL.text
    assert "backoffCapMs: 20_000" in SOCKET_JS and "ends at 20" in PROTOCOL.text


# The house


def test_the_floors_are_those_that_the_imports_are_held_to() -> None:
    built = {room_of(path) for path in SOURCES}
    floors = {
        number: {name for name in names.split() if name in built}
        for number, names in enumerate(FLOORS)
    }
    told = {int(row[0]): set(codes_in(row[1])) for row in ARCHITECTURE.table("floor")}
    assert told == floors


def modules() -> set[str]:
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        if path.name != "__init__.py" and "migrations" not in path.parts
    }


def test_every_module_has_its_line() -> None:
    assert sorted(first_codes(ARCHITECTURE.table("module"))) == sorted(modules())


def test_every_module_stands_on_its_floor() -> None:
    for section in ARCHITECTURE.sections:
        floor = re.match(r"Floors? (\d)(?: to (\d))?:", section)
        if floor is None:
            continue
        first, last = int(floor[1]), int(floor[2] or floor[1])
        for module in first_codes(ARCHITECTURE.table("module", section)):
            room = module.partition("/")[0].removesuffix(".py")
            assert first <= FLOOR_OF[room] <= last, f"{module} is not on {section}"


def test_every_room_added_exists() -> None:
    assert set(first_codes(ARCHITECTURE.table("room"))) <= modules()


def test_names_in_the_architecture_exist() -> None:
    told = set(codes_in(ARCHITECTURE.text))
    paths = {code for code in told if re.fullmatch(r"[\w/]+(\.\w+|/)", code) and "/" in code}
    assert paths
    assert not {path for path in paths if not (PACKAGE / path).exists()}


# Every page


@pytest.mark.parametrize("page", EVERY_PAGE, ids=label)
def test_links_lead_somewhere(page: Markdown) -> None:
    for link in page.links:
        url = urlsplit(link)
        if url.scheme:
            assert url.scheme == "https"
            continue
        target = (page.path.parent / url.path).resolve() if url.path else page.path
        assert target.exists(), f"{label(page)} links to {link}"
        if url.fragment:
            assert url.fragment in Markdown(target).anchors, f"{label(page)} links to {link}"


def test_every_page_can_be_reached_from_readme() -> None:
    seen: set[Path] = set()
    ahead = [README.path]
    while ahead:
        path = ahead.pop()
        if path not in seen and path.suffix == ".md":
            seen.add(path)
            links = (urlsplit(link) for link in Markdown(path).links)
            ahead += [(path.parent / url.path).resolve() for url in links if not url.scheme]
    assert {page.path for page in EVERY_PAGE} <= seen


@pytest.mark.parametrize("page", EVERY_PAGE, ids=label)
def test_a_page_speaks_of_nothing_that_a_reader_does_not_have(page: Markdown) -> None:
    for name in re.findall(r"[\w/.-]+\.md\b", page.text):
        places = (page.path.parent / name, ROOT / name, ROOT / "docs" / name)
        assert any(place.exists() for place in places), f"{label(page)} names {name}"
    assert str(ROOT) not in page.text
    assert not re.search(r"\bissue \d|(?<![\w&])#\d+\b", page.text, re.IGNORECASE)
    assert "TODO" not in page.text


@pytest.mark.parametrize("page", DECISIONS, ids=label)
def test_a_decision_is_short_and_has_its_three_parts(page: Markdown) -> None:
    if page.path.name == "README.md":
        return
    assert page.sections[1:] == ["Context", "Decision", "Consequences"]
    assert len(page.text.splitlines()) < 40


def test_every_decision_is_listed() -> None:
    index, *_ = (page for page in DECISIONS if page.path.name == "README.md")
    records = [page.path.name for page in DECISIONS if page is not index]
    assert sorted(index.links) == sorted(records)


def test_the_changelog_has_something_to_release() -> None:
    assert "[Unreleased]" in CHANGELOG.sections
    assert any(line.text.startswith("- ") for line in CHANGELOG.prose)


def test_the_signals_are_those_that_exist() -> None:
    exist = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert first_codes(README.table("signal")) == exist
