"""What docs/troubleshooting.md names exists.

tests/system/test_troubleshooting.py provokes its symptoms, and hears what the page says of them.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.markdown import DOCS
from tests.processes import ROOT
from tests.system.test_troubleshooting import SYMPTOMS, lines_of, pattern_of, unwrapped
from tests.test_docs import codes_in, first_codes
from wsadapter.conf import RULES
from wsadapter.doctor.redis_server import SLOW_SECONDS
from wsadapter.draining import ENDING_SECONDS

PAGE = DOCS["troubleshooting"]
TEXT = " ".join(PAGE.text.split())
NAMED = {code for line in PAGE.prose for code in codes_in(line.text)}

#: Settings of Django and Channels, and a variable of Python's environment.
FOREIGN = {
    "ALLOWED_HOSTS",
    "CHANNEL_LAYERS",
    "CSRF_TRUSTED_ORIGINS",
    "INSTALLED_APPS",
    "SECURE_PROXY_SSL_HEADER",
}


def test_every_symptom_is_provoked_and_none_is_left_out() -> None:
    introduction = ["Troubleshooting", "Where to look first"]
    assert [name for name in PAGE.sections if name not in introduction] == list(SYMPTOMS)
    assert all(lines_of(PAGE, symptom) for symptom in SYMPTOMS)


def test_the_settings_that_are_named_exist() -> None:
    settings = {code for code in NAMED if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", code)}
    assert settings <= RULES.keys() | FOREIGN
    assert settings >= FOREIGN, "what is not named any more can go"


def test_the_commands_and_metrics_that_are_named_exist() -> None:
    commands = {path.stem for path in (ROOT / "wsadapter/management/commands").glob("w*.py")}
    metrics = set(first_codes(DOCS["metrics"].table("metric")))
    named = {name for code in NAMED for name in re.findall(r"\bwsadapter_\w+", code)}
    assert named & commands
    assert named & metrics
    assert named <= commands | metrics


def test_with_the_settings_of_the_page_lines_look_as_they_do_here() -> None:
    (block,) = (each for each in PAGE.blocks if each.path == "shop/settings.py")
    given: dict[str, Any] = {}
    exec(block.text, given)
    formatter = given["LOGGING"]["formatters"]["line"]["format"]
    assert f'"{formatter}"' in (ROOT / "tests/project/settings.py").read_text()
    assert given["LOGGING"]["loggers"]["wsadapter"]["level"] == "INFO"


def test_the_numbers_of_the_page() -> None:
    assert f"more than {SLOW_SECONDS * 1000:g} ms in the median" in TEXT
    assert f"{ENDING_SECONDS:g} seconds after `DRAIN_SECONDS` at most" in TEXT


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("WARNING a: Client … left.", "WARNING a: Client 7 left.\n"),
        ("✗ server   It is\n           away (…).\n", "✗ server  It is away\n   (refused).\n"),
    ],
    ids=["a line", "a finding, wrapped elsewhere"],
)
def test_what_stands_for_anything_does(line: str, said: str) -> None:
    assert pattern_of(line).search(unwrapped(said))
    assert not pattern_of(line).search(unwrapped(said).replace(".", "!"))
