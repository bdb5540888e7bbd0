"""A stream is an endpoint: its browser, its log and its notes are theirs."""

from __future__ import annotations

from tests.endpoints.conftest import Watched, browser, log, watched

__all__ = ["Watched", "browser", "log", "watched"]
