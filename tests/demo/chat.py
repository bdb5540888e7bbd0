"""The chat page as a test talks about it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.request import urlopen

from playwright.sync_api import Browser, Locator, Page, expect

WITHIN_MS = 30_000


def chat_url(address: str, person: str) -> str:
    """The socket of a person, with the token that the page of that person has."""
    with urlopen(f"{address}chat/?as={person}") as page:
        found = re.search(r'<script id="me"[^>]*>(.*?)</script>', page.read().decode())
    assert found, "the page knows nobody of that name"
    token = json.loads(found[1])["token"]
    return f"{address.replace('http', 'ws', 1)}ws/chat/?token={token}"


class ChatPage:
    """One person in a window of their own, in the room that is asked for."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        person: str,
        room: str = "lobby",
        *,
        width: int = 1280,
        route: Any = None,
    ) -> None:
        self.problems: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": 812})
        self.tab: Page = self.context.new_page()
        self.tab.set_default_timeout(WITHIN_MS)
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        if route is not None:
            self.tab.route_web_socket(re.compile(r"/ws/chat/\?"), route)
        self.tab.goto(f"{address}chat/?as={person}#/{room}")
        expect(self.lines.first).to_be_attached(timeout=WITHIN_MS)

    @property
    def lines(self) -> Locator:
        return self.tab.locator("#lines li")

    def line(self, text: str) -> Locator:
        return self.lines.filter(has_text=text)

    def numbers(self) -> list[int]:
        """The numbers of the lines, from top to bottom."""
        read = "lines => lines.map(line => Number(line.dataset.sequence))"
        return list(self.lines.evaluate_all(read))

    def rooms(self) -> list[str]:
        """The titles of the rooms, from top to bottom."""
        return self.tab.locator("#rooms strong").all_inner_texts()

    def say(self, text: str) -> None:
        self.tab.get_by_label("Your message").fill(text)
        self.tab.get_by_role("button", name="Send").click()

    def hears(self, text: str) -> None:
        expect(self.line(text)).to_have_count(1, timeout=WITHIN_MS)

    def enter(self, title: str) -> None:
        self.tab.locator("#rooms").get_by_role("link", name=title).click()
        self.shows("#room-title", title)
        expect(self.lines.first).to_be_attached(timeout=WITHIN_MS)

    def shows(self, selector: str, text: str | re.Pattern[str]) -> None:
        expect(self.tab.locator(selector)).to_have_text(text, timeout=WITHIN_MS)

    def sees(self, *people: str) -> None:
        """Wait until these people are here, and nobody else."""
        expect(self.tab.locator("#people strong")).to_have_text(list(people), timeout=WITHIN_MS)

    def width(self) -> int:
        """What the page needs, in pixels."""
        return int(self.tab.evaluate("document.documentElement.scrollWidth"))

    def close(self) -> None:
        self.context.close()
        assert self.problems == []
