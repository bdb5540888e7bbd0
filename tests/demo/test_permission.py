"""Who may kill a server process or stop Redis."""

from __future__ import annotations

from typing import Any

import pytest

from demo_project.permission import may_break


@pytest.fixture
def supervised(settings: Any) -> Any:
    settings.DEBUG = True
    settings.SUPERVISED = True
    return settings


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("192.168.1.7", False),
        ("203.0.113.9", False),
        ("", False),
    ],
)
def test_only_a_browser_on_this_machine(supervised: Any, address: str, may: bool) -> None:
    assert may_break(address) is may


@pytest.mark.parametrize("switch", ["DEBUG", "SUPERVISED"])
def test_only_in_a_supervised_demo(supervised: Any, switch: str) -> None:
    setattr(supervised, switch, False)
    assert not may_break("127.0.0.1")
