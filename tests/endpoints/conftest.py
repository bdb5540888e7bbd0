"""An endpoint is a consumer: its browser and its log are theirs."""

from __future__ import annotations

from tests.consumers.conftest import browser, log

__all__ = ["browser", "log"]
