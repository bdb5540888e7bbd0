"""The second page in a real browser: an upload through `reader()`, and a periodic endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Browser, Page, expect

from demo_project import endpoints
from tests.demo.demo import Demo
from tests.demo.page import WITHIN_MS
from wsadapter import StoreUnavailable

MIB = 1024**2
FILE_BYTES = 4 * MIB + 5  # the last frame is a short one
CONTENT = Random(4).randbytes(FILE_BYTES)

#: The socket takes two MiB, and says from then on that nothing leaves it.
HOLD_AFTER_FRAMES = 32
HOLD = f"""
    window.holding = true;
    let frames = 0;
    const {{ send }} = WebSocket.prototype;
    WebSocket.prototype.send = function (data) {{
        if (data instanceof ArrayBuffer) frames += 1;
        send.call(this, data);
    }};
    Object.defineProperty(WebSocket.prototype, "bufferedAmount", {{
        get: () => (window.holding && frames >= {HOLD_AFTER_FRAMES} ? Infinity : 0),
    }});
"""

#: The close code and reason of an upload, after frames of these sizes and the end of the stream.
UPLOAD_RAW = """([query, sizes]) => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/ws/upload/${query}`);
    socket.onopen = () => {
        for (const size of sizes) socket.send(new Uint8Array(size));
        socket.send('{"type": "ws:end"}');
    };
    socket.onclose = ({ code, reason }) => resolve([code, reason]);
})"""


class ConversationPage:
    """One tab with the page, its status connected."""

    def __init__(
        self, browser: Browser, address: str, *, width: int = 1280, script: str = ""
    ) -> None:
        self.problems: list[str] = []
        self.tab: Page = browser.new_page(viewport={"width": width, "height": 900})
        self.tab.set_default_timeout(WITHIN_MS)
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.add_init_script(script)
        self.tab.goto(f"{address}conversation/")
        self.shows("#status-state", "open")
        self.shows("#online", "1")

    def shows(self, selector: str, text: str | re.Pattern[str]) -> None:
        expect(self.tab.locator(selector)).to_have_text(text, timeout=WITHIN_MS)

    def upload(self, file: Path) -> None:
        self.tab.set_input_files("#file", file)


@pytest.fixture(scope="module")
def whole_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    demo.until_started()
    yield demo.address
    demo.terminate()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[ConversationPage]:
    opened = ConversationPage(chromium, address)
    yield opened
    assert opened.problems == []
    opened.tab.close()


@pytest.fixture
def held_page(chromium: Browser, address: str) -> Iterator[ConversationPage]:
    """A page whose upload stops half-way, until it is told to go on."""
    opened = ConversationPage(chromium, address, script=HOLD)
    yield opened
    assert opened.problems == []
    opened.tab.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


def test_an_upload_ends_with_the_hash_of_the_file(page: ConversationPage, file: Path) -> None:
    page.upload(file)
    page.shows("#upload-state", "done")
    page.shows("#sha256", sha256(CONTENT).hexdigest())
    page.shows("#verdict", "✓ the same")
    page.shows("#percent", "100 %")
    page.shows("#file-name", "file.bin")


def test_an_empty_file_has_a_hash_too(page: ConversationPage, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    page.upload(tmp_path / "empty")
    page.shows("#sha256", sha256(b"").hexdigest())
    page.shows("#verdict", "✓ the same")
    page.shows("#percent", "100 %")


def test_the_bar_shows_what_the_server_has_received(
    held_page: ConversationPage, file: Path
) -> None:
    held_page.upload(file)
    held_page.shows("#percent", "49 %")
    held_page.shows("#speed", re.compile(r"^2\.0 MiB of 4\.0 MiB, [\d.]+ [KM]iB/s$"))
    expect(held_page.tab.locator("#upload-bar")).to_have_js_property(
        "value", 100 * HOLD_AFTER_FRAMES * 65536 / FILE_BYTES
    )
    held_page.tab.evaluate("window.holding = false")
    held_page.shows("#verdict", "✓ the same")


def test_cancelling_ends_the_connection_and_another_upload_can_begin(
    held_page: ConversationPage, file: Path
) -> None:
    held_page.upload(file)
    held_page.shows("#percent", "49 %")
    held_page.shows("#online", "2")
    held_page.tab.click("#cancel")
    held_page.shows("#upload-state", "cancelled")
    held_page.shows("#online", "1")
    held_page.shows("#sha256", "–")
    held_page.tab.evaluate("window.holding = false")
    held_page.upload(file)
    held_page.shows("#verdict", "✓ the same")


def test_a_file_can_be_dropped(page: ConversationPage) -> None:
    page.tab.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["dropped"], "dropped.txt"));
            document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer }));
        }"""
    )
    page.shows("#file-name", "dropped.txt")
    page.shows("#sha256", sha256(b"dropped").hexdigest())


def test_a_file_that_is_too_large_is_refused_with_the_reason(
    page: ConversationPage, tmp_path: Path
) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(endpoints.MAX_BYTES + 1)  # a hole: it takes no room on the disk
    page.upload(tmp_path / "large")
    page.shows("#upload-state", "failed")
    page.shows("#speed", "Closed with 3501: A file may have at most 256 MiB here.")


@pytest.mark.parametrize(
    ("query", "sizes", "reason"),
    [
        ("", [], "The parameter size is missing."),
        ("?size=x", [], 'The parameter size is wrong: Expected a whole number, got "x".'),
        ("?size=5", [2], "Expected 5 bytes, got 2."),
        ("?size=5", [2, 4], "Expected 5 bytes, got 6."),
    ],
    ids=["no-size", "wrong-size", "too-few", "too-many"],
)
def test_an_upload_that_is_not_as_announced_is_closed_with_the_reason(
    page: ConversationPage,
    query: str,
    sizes: list[int],
    reason: str,
) -> None:
    assert page.tab.evaluate(UPLOAD_RAW, [query, sizes]) == [3501, reason]


def test_an_equal_status_is_not_sent_again(chromium: Browser, runserver: str) -> None:
    page = ConversationPage(chromium, runserver)
    sent = page.tab.locator("#sent")
    expect(sent).to_have_attribute("data-looks", re.compile(r"^1[2-9]$"), timeout=WITHIN_MS)
    looks, messages = (int(sent.get_attribute(f"data-{of}") or 0) for of in ("looks", "messages"))
    # The kernel works out the load every five seconds, and nobody else comes or goes.
    assert 1 <= messages <= looks / 2
    expect(page.tab.locator("#beats .same").first).to_be_attached()


async def test_without_redis_the_status_is_sent_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def aonline_count() -> int:
        raise StoreUnavailable("Redis at redis://127.0.0.1:1/0 did not answer.")

    monkeypatch.setattr(endpoints, "aonline_count", aonline_count)
    assert set(await endpoints.get_status()) == {"type", "load"}


def test_the_code_on_the_page_is_its_source(page: ConversationPage) -> None:
    expect(page.tab.locator("#upload pre").first).to_contain_text("connection.reader()")
    expect(page.tab.locator("#send-code")).to_contain_text("socket.bufferedAmount")
    expect(page.tab.locator("#status pre")).to_contain_text("aonline_count()")


def test_the_two_pages_lead_to_each_other(page: ConversationPage) -> None:
    links = page.tab.get_by_role("navigation", name="Pages")
    links.get_by_role("link", name="Pushes").click()
    page.shows("h1", "Two people in one tab")
    links.get_by_role("link", name="Conversations").click()
    page.shows("h1", "One client at a time")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_screen(chromium: Browser, whole_demo: str, file: Path, width: int) -> None:
    page = ConversationPage(chromium, whole_demo, width=width)
    page.upload(file)
    page.shows("#verdict", "✓ the same")
    assert page.tab.evaluate("document.documentElement.scrollWidth") == width
