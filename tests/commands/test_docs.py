"""docs/commands.md says what there is."""

from __future__ import annotations

import pytest
from django.core.management import BaseCommand, load_command_class

from tests.commands.test_doctor import SUBJECTS
from tests.markdown import DOCS
from tests.test_docs import codes_in, first_codes

PAGE = DOCS["commands"]
COMMANDS = ["wsadapter_online", "wsadapter_send", "wsadapter_disconnect", "wsadapter_doctor"]


def test_every_command_has_its_section() -> None:
    assert [section for section in PAGE.sections if section.startswith("wsadapter_")] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_are_those_of_the_command(command: str) -> None:
    parser = load_command_class("wsadapter", command).create_parser("manage.py", command)
    of_every_command = BaseCommand().create_parser("manage.py", command)
    own = set(parser._option_string_actions) - set(of_every_command._option_string_actions)
    told = {code for row in PAGE.table("option", command) for code in codes_in(row[0])}
    assert told == own


def test_everything_that_the_doctor_looks_at_is_told_in_its_order() -> None:
    told = first_codes(PAGE.table("looked at"))
    assert [subject for subject in told if subject in SUBJECTS] == SUBJECTS
    assert set(told) - set(SUBJECTS) == {"cluster", "server", "server, back"}
