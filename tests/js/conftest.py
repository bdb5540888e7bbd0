"""One browser for all tests of socket.js, a fresh page for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dependencies import chromium_executable
from tests.js.lab import Lab, Tab, open_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with open_lab(chromium_executable()) as made:
        yield made


@pytest.fixture
def tab(lab: Lab) -> Iterator[Tab]:
    with lab.tab() as opened:
        yield opened
