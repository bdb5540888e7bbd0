"""Frames are logged where the environment asks for it: shortened, masked, one line for each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.processes import ROOT
from wsadapter import frame_log
from wsadapter.frame_log import Detail, detail_from

Configure = Callable[..., None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Configure for the length of a test: ``configure(WSADAPTER_DEBUG="1")``."""
    monkeypatch.setattr(frame_log.logger, "handlers", [])
    monkeypatch.setattr(frame_log.logger, "level", logging.NOTSET)
    monkeypatch.setattr(frame_log, "detail", Detail.OFF)
    monkeypatch.setattr(frame_log, "on", False)
    return lambda **environ: frame_log.configure(environ)


@pytest.fixture
def alone(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a project whose LOGGING shows nothing of wsadapter."""
    monkeypatch.setattr(frame_log.logger, "parent", None)


def line(caplog: pytest.LogCaptureFixture) -> str:
    (message,) = caplog.messages
    caplog.clear()
    return message


# The environment


@pytest.mark.parametrize("word", ["1", "true", "TRUE", "Yes", "on", " 1 "])
def test_the_switch_of_wsadapter_shows_payloads(word: str) -> None:
    assert detail_from({"WSADAPTER_DEBUG": word}) is Detail.PAYLOADS
    assert detail_from({"WSADAPTER_DEBUG": word, "DEBUG": "0"}) is Detail.PAYLOADS


@pytest.mark.parametrize("word", ["1", "true", "on"])
def test_the_switch_of_everybody_shows_frames_without_payloads(word: str) -> None:
    assert detail_from({"DEBUG": word}) is Detail.FRAMES


@pytest.mark.parametrize("word", ["0", "false", "no", "off", "", "*", "celery:*"])
def test_any_other_word_is_no(word: str) -> None:
    assert detail_from({"WSADAPTER_DEBUG": word}) is Detail.OFF
    assert detail_from({"WSADAPTER_DEBUG": word, "DEBUG": "1"}) is Detail.OFF
    assert detail_from({"DEBUG": word}) is Detail.OFF


def test_nothing_is_asked_for_by_nobody() -> None:
    assert detail_from({}) is Detail.OFF


# Being configured


@pytest.mark.usefixtures("alone")
def test_lines_go_to_stderr_where_nobody_shows_them(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(WSADAPTER_DEBUG="1")
    configure(WSADAPTER_DEBUG="1")
    frame_log.received("c1", "hi")
    captured = capsys.readouterr()
    assert captured.err.endswith(" wsadapter.frames: in   c1 text 2 bytes hi\n")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_lines_go_where_the_project_logs(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(WSADAPTER_DEBUG="1")
    assert not frame_log.logger.handlers
    frame_log.received("c1", "hi")
    assert caplog.record_tuples == [("wsadapter.frames", logging.DEBUG, "in   c1 text 2 bytes hi")]


@pytest.mark.usefixtures("alone")
def test_a_handler_for_errors_only_shows_nothing(configure: Configure) -> None:
    frame_log.logger.addHandler(logging.NullHandler(logging.ERROR))
    configure(WSADAPTER_DEBUG="1")
    assert len(frame_log.logger.handlers) == 2


def test_it_is_quiet_where_nothing_asks(configure: Configure) -> None:
    configure()
    assert not frame_log.on
    assert frame_log.detail is Detail.OFF
    assert not frame_log.logger.handlers


def test_it_can_be_turned_off_again(configure: Configure) -> None:
    configure(WSADAPTER_DEBUG="1")
    assert frame_log.on
    configure(WSADAPTER_DEBUG="0")
    assert not frame_log.on


@pytest.mark.parametrize(
    ("environ", "detail"),
    [({}, "OFF"), ({"WSADAPTER_DEBUG": "1"}, "PAYLOADS"), ({"DEBUG": "1"}, "FRAMES")],
    ids=["unset", "wsadapter", "debug"],
)
def test_the_app_reads_the_environment(environ: Mapping[str, str], detail: str) -> None:
    code = "import django; django.setup(); from wsadapter import frame_log; print(frame_log.detail)"
    inherited = {k: v for k, v in os.environ.items() if k not in ("DEBUG", "WSADAPTER_DEBUG")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**inherited, "DJANGO_SETTINGS_MODULE": "tests.settings", **environ},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"Detail.{detail}\n", "")


# The lines


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "websocket.accept", "subprotocol": "token.hunter2"}, "out  c1 accept"),
        (
            {"type": "websocket.send", "text": '{"type":"a"}'},
            'out  c1 text 12 bytes {"type":"a"}',
        ),
        (
            {"type": "websocket.send", "text": None, "bytes": b"\x01\xff"},
            "out  c1 binary 2 bytes 01ff",
        ),
        ({"type": "websocket.send", "text": ""}, "out  c1 text 0 bytes"),
        ({"type": "websocket.close"}, "out  c1 close 1000"),
        (
            {"type": "websocket.close", "code": 3503, "reason": "out you go"},
            "out  c1 close 3503 (out you go)",
        ),
        (
            {"type": "websocket.http.response.start", "status": 403},
            "out  c1 http.response.start",
        ),
    ],
    ids=["accept", "text", "binary", "empty", "close", "close with a reason", "refusal"],
)
def test_what_is_sent(
    configure: Configure,
    caplog: pytest.LogCaptureFixture,
    event: dict[str, Any],
    expected: str,
) -> None:
    configure(WSADAPTER_DEBUG="1")
    frame_log.sent("c1", event)
    assert line(caplog) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("grüße", "text 7 bytes grüße"),
        ("\ud800", r"text 3 bytes \ud800"),
        ('{"type":"a","password":"hunter2"}', 'text 33 bytes {"type":"a","password":"***"}'),
        ("x" * 200, f"text 200 bytes {'x' * 200}"),
        ("x" * 201, f"text 201 bytes {'x' * 200}…"),
        (b"\x89PNG\r\n\x1a\n", "binary 8 bytes 89504e470d0a1a0a"),
        (bytes(16), f"binary 16 bytes {'00' * 16}"),
        (bytes(65536), f"binary 65536 bytes {'00' * 16}…"),
        (b"", "binary 0 bytes"),
    ],
    ids=["text", "surrogate", "secret", "fits", "too long", "binary", "fits", "too long", "empty"],
)
def test_what_is_received(
    configure: Configure,
    caplog: pytest.LogCaptureFixture,
    frame: str | bytes,
    expected: str,
) -> None:
    configure(WSADAPTER_DEBUG="1")
    frame_log.received("c1", frame)
    assert line(caplog) == f"in   c1 {expected}"


def test_how_a_connection_begins_and_ends(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(WSADAPTER_DEBUG="1")
    frame_log.opened("c1", {"path": "/ws/", "query_string": b"room=7&%74oken=hunter2"})
    assert line(caplog) == "open c1 /ws/?room=7&token=***"
    frame_log.opened("c1", {"path": "/ws/token=hunter2"})
    assert line(caplog) == "open c1 /ws/token=***"
    frame_log.ended("c1", 1006, "")
    assert line(caplog) == "end  c1 1006"
    frame_log.ended("c1", 4000, "bye; token=hunter2")
    assert line(caplog) == "end  c1 4000 (bye; token=***)"


def test_without_payloads_only_kinds_and_sizes_are_shown(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(DEBUG="1")
    frame_log.opened("c1", {"path": "/ws/", "query_string": b"room=7"})
    frame_log.received("c1", "hi")
    frame_log.received("c1", b"hi")
    frame_log.sent("c1", {"type": "websocket.send", "text": "hi"})
    frame_log.sent("c1", {"type": "websocket.close", "code": 3503, "reason": "out you go"})
    frame_log.ended("c1", 3503, "out you go")
    assert caplog.messages == [
        "open c1 /ws/",
        "in   c1 text 2 bytes",
        "in   c1 binary 2 bytes",
        "out  c1 text 2 bytes",
        "out  c1 close 3503 (out you go)",
        "end  c1 3503 (out you go)",
    ]


EVIL = "a\nin   c2 forged\r\x1b[2J\u2028\u202e\x00b"


@pytest.mark.parametrize(
    "log",
    [
        lambda: frame_log.received("c1", EVIL),
        lambda: frame_log.sent("c1", {"type": "websocket.send", "text": EVIL}),
        lambda: frame_log.sent("c1", {"type": EVIL}),
        lambda: frame_log.opened("c1", {"path": EVIL, "query_string": EVIL.encode()}),
        lambda: frame_log.ended("c1", 4000, EVIL),
    ],
    ids=["received", "sent", "other event", "opened", "ended"],
)
def test_nobody_forges_a_line(
    configure: Configure, caplog: pytest.LogCaptureFixture, log: Callable[[], None]
) -> None:
    configure(WSADAPTER_DEBUG="1")
    log()
    shown = line(caplog)
    assert shown.isprintable()
    assert r"a\nin   c2 forged\r\x1b[2J\u2028\u202e\x00b" in shown


SECRETS = st.text("QXJ" + '"\\ \n', min_size=20)
MESSAGES = st.recursive(
    st.dictionaries(st.sampled_from(["password", "Token", "api_key"]), SECRETS, min_size=1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=5,
)


@given(MESSAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_secret_is_in_any_line(
    configure: Configure, caplog: pytest.LogCaptureFixture, message: Any
) -> None:
    configure(WSADAPTER_DEBUG="1")
    frame_log.received("c1", json.dumps(message))
    assert not set(line(caplog)) & set("QXJ")
