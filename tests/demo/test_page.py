"""The page in a real browser, against the whole demo: two servers, Redis, Celery."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.demo.demo import Demo
from tests.demo.page import PEOPLE, WITHIN_MS, DemoPage


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    process = Demo(tmp_path_factory.mktemp("demo"))
    process.until_started()
    yield process
    if process.is_running:
        process.terminate()


@pytest.fixture
def page(chromium: Browser, demo: Demo) -> Iterator[DemoPage]:
    opened = DemoPage(chromium, demo.address)
    yield opened
    assert opened.problems == []


def test_two_people_are_connected_to_two_server_processes(page: DemoPage) -> None:
    expect(page.pane("grace").locator('[data-fact="process"]')).not_to_have_text(
        str(page.process("ada")), timeout=WITHIN_MS
    )
    page.shows("#processes", "2")
    page.shows("#users", "2")
    for person in PEOPLE:
        expect(page.tab.locator(f"#clients .{person}")).to_have_count(1, timeout=WITHIN_MS)


@pytest.mark.parametrize(
    ("action", "person", "where"),
    [
        ("to-me", "ada", {"Ada"}),
        ("to-other", "ada", {"Grace"}),
        ("to-all", "grace", {"Ada", "Grace", "bare socket"}),
        ("to-all-others", "grace", {"Ada", "bare socket"}),
        ("to-this-tab", "grace", {"Grace"}),
        ("commit", "ada", {"Ada"}),
    ],
)
def test_a_button_reaches_those_it_names_and_nobody_else(
    page: DemoPage, action: str, person: str, where: set[str]
) -> None:
    page.press(action, person)
    for place in where:
        expect(page.outcome(action)).to_contain_text(f"{place} ", timeout=WITHIN_MS)
    if action != "to-all":
        page.everything_before_has_arrived()
    assert page.arrivals(action) == where


def test_a_pane_says_how_long_a_frame_took(page: DemoPage) -> None:
    page.press_until("to-me", "ada", "Arrived: Ada")
    latency = page.pane("ada").locator('[data-fact="latency"]')
    expect(latency).to_have_text(re.compile(r"^\d+\.\d ms$"))


def test_what_is_rolled_back_never_arrives(page: DemoPage) -> None:
    page.press_until("roll-back", "ada", "Nothing arrived. The transaction was rolled back.")
    page.everything_before_has_arrived()
    assert page.arrivals("roll-back") == set()


def test_a_celery_task_reports_its_progress_to_its_user_alone(page: DemoPage) -> None:
    page.press("report", "grace")
    page.shows("#percent-grace", "100 %")
    page.shows("#percent-ada", "0 %")
    expect(page.log("grace").filter(has_text="progress 100 %")).to_have_count(1)
    expect(page.log("ada").filter(has_text="progress")).to_have_count(0)


def test_the_statistics_of_beat_arrive_once_per_tick(page: DemoPage) -> None:
    page.shows("#ticks", re.compile(r"^([3-9]|\d\d+) ticks, none arrived twice$"))


def test_the_code_beside_a_button_is_its_source(page: DemoPage) -> None:
    code = page.tab.locator('[data-card="roll-back"] pre')
    expect(code).to_contain_text("transaction.set_rollback(True)")


def test_a_bare_websocket_receives_and_is_told_what_it_did_wrong(page: DemoPage) -> None:
    frames = page.tab.locator("#bare-log li")
    page.press_until("to-all", "ada", "bare socket")
    expect(frames.filter(has_text='"action":"to-all"')).to_have_count(1, timeout=WITHIN_MS)
    page.tab.click("#bare-form button:not([type])")
    expect(frames.filter(has_text="unknown_type")).to_have_count(1, timeout=WITHIN_MS)


def test_the_bare_websocket_is_whoever_logged_in_and_ends_with_the_session(
    page: DemoPage,
) -> None:
    page.tab.get_by_role("link", name="logged in").click()
    page.tab.fill("#id_username", "ada")
    page.tab.fill("#id_password", "wsadapter")
    page.tab.click("form button")
    expect(page.tab.locator("#clients .ada")).to_have_count(2, timeout=WITHIN_MS)
    page.shows("#users", "2")
    page.tab.click("#logout button")
    expect(page.tab.locator("#clients .anonymous")).to_have_count(1, timeout=WITHIN_MS)
    expect(page.tab.locator("#clients .ada")).to_have_count(1, timeout=WITHIN_MS)


def test_after_kill_9_the_page_is_back_and_the_count_right_again(page: DemoPage) -> None:
    killed = page.process("ada")
    page.press("kill", "ada")
    page.logs("ada", "closed (1006")
    page.logs("ada", "back after")
    for person in PEOPLE:
        expect(page.state(person)).to_have_text("open", timeout=WITHIN_MS)
        assert page.process(person) != killed
    if page.tab.locator("#bare-state").inner_text() != "open":
        page.tab.click("#bare-open")
    expect(page.tab.locator("#clients").get_by_text(str(killed))).to_have_count(
        0, timeout=WITHIN_MS
    )
    page.shows("#online", "3")
    page.shows("#users", "2")
    page.shows("#processes", "2")  # the supervisor has started another
    page.everything_before_has_arrived()


def test_while_redis_is_away_sockets_stay_open_and_then_all_is_well_again(
    page: DemoPage,
) -> None:
    page.press("stop-redis", "ada")
    page.shows("#store", "away")
    page.press_until("to-me", "ada", "503: ")
    page.shows("#store", "up")
    page.shows("#online", "3")
    for person in PEOPLE:
        page.logs(person, "ws:gap")
        expect(page.log(person).filter(has_text="closed")).to_have_count(0)
    page.everything_before_has_arrived()
    ticks = int(page.tab.locator("#statistics").get_attribute("data-ticks") or 0)
    expect(page.tab.locator("#statistics")).not_to_have_attribute(
        "data-ticks", str(ticks), timeout=2 * WITHIN_MS
    )


def test_the_page_fits_a_phone(chromium: Browser, demo: Demo) -> None:
    page = DemoPage(chromium, demo.address, width=390)
    assert page.tab.evaluate("document.documentElement.scrollWidth") == 390
