"""What docs/troubleshooting.md names exists; that its symptoms are said so, tests/system shows."""

from __future__ import annotations

import logging.config
import re
from copy import deepcopy
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.markdown import DOCS
from tests.processes import ROOT
from tests.test_docs import codes_in
from wsadapter.conf import RULES
from wsadapter.doctor.redis_server import SLOW_SECONDS
from wsadapter.draining import ENDING_SECONDS

PAGE = DOCS["troubleshooting"]
COMMANDS = ROOT / "wsadapter/management/commands"


def settings_of_the_page() -> dict[str, Any]:
    (block,) = (each for each in PAGE.blocks if each.path == "shop/settings.py")
    given: dict[str, Any] = {}
    exec(block.text, given)
    return given
