"""The demo page as a test talks about it."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Locator, Page, expect

PEOPLE = ("ada", "grace")
WITHIN_MS = 30_000


class DemoPage:
    """One tab with the demo, both panes and the bare socket connected."""

    def __init__(self, browser: Browser, address: str, *, width: int = 1280) -> None:
        self.problems: list[str] = []
        self.tab: Page = browser.new_page(viewport={"width": width, "height": 900})
        self.tab.set_default_timeout(WITHIN_MS)
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.goto(address)
        for person in PEOPLE:
            expect(self.state(person)).to_have_text("open", timeout=WITHIN_MS)
        expect(self.tab.locator("#bare-state")).to_have_text("open", timeout=WITHIN_MS)
        self.shows("#online", "3")

    def shows(self, selector: str, text: str | re.Pattern[str]) -> None:
        expect(self.tab.locator(selector)).to_have_text(text, timeout=WITHIN_MS)

    def pane(self, person: str) -> Locator:
        return self.tab.locator(f"#pane-{person}")

    def state(self, person: str) -> Locator:
        return self.pane(person).locator(".state")

    def process(self, person: str) -> int:
        """The server process that the pane says it is connected to."""
        fact = self.pane(person).locator('[data-fact="process"]')
        expect(fact).to_have_text(re.compile(r"^\d+$"), timeout=WITHIN_MS)
        return int(fact.inner_text())

    def log(self, person: str) -> Locator:
        return self.pane(person).locator(".log li")

    def logs(self, person: str, text: str) -> None:
        """Wait until the pane's log has a row with the text."""
        row = self.log(person).filter(has_text=text).first
        expect(row).to_be_attached(timeout=WITHIN_MS)

    def press(self, action: str, person: str) -> None:
        self.tab.click(f'button[data-action="{action}"][data-person="{person}"]')

    def outcome(self, action: str) -> Locator:
        return self.tab.locator(f'[data-card="{action}"] .outcome')

    def press_until(self, action: str, person: str, text: str | re.Pattern[str]) -> None:
        """Press, and wait until the button's card says what is expected."""
        self.press(action, person)
        expect(self.outcome(action)).to_contain_text(text, timeout=WITHIN_MS)

    def arrivals(self, action: str) -> set[str]:
        """Where frames of the button's last press have arrived so far."""
        found = re.search(r"Arrived: ([^.]*)\.", self.outcome(action).inner_text())
        places = found[1].split(", ") if found else []
        return {re.sub(r" \d+ ms$", "", place) for place in places}

    def everything_before_has_arrived(self) -> None:
        """A frame to everyone came through, and what was sent before it would have been there."""
        self.press("to-all", "ada")
        for place in ("Ada", "Grace", "bare socket"):
            expect(self.outcome("to-all")).to_contain_text(f"{place} ", timeout=WITHIN_MS)
