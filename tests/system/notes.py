"""What the endpoints of tests/project note about their client in the log of a server."""

from __future__ import annotations

import re

from tests.deployment import DjangoServer
from tests.waiting import eventually


def noted(server: DjangoServer, client_id: str) -> list[str]:
    """All that was noted about a client, in order."""
    return re.findall(rf"tests\.project\.endpoints: {client_id}: (.*)", server.log())


def until_noted(server: DjangoServer, client_id: str, pattern: str) -> re.Match[str]:
    """Wait for a note that the whole of a regular expression matches."""

    def found() -> re.Match[str] | None:
        matches = (re.fullmatch(pattern, note) for note in noted(server, client_id))
        return next((match for match in matches if match), None)

    match = eventually(found)
    assert match is not None
    return match
