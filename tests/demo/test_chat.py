"""The chat in a real browser, with two people, on two servers behind one address."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.demo.chat import WITHIN_MS, ChatPage, chat_url
from tests.demo.demo import Demo
from wsadapter import CloseCode, ConnectionClosed
from wsadapter.client import FailureKind, RequestError, connect

Open = Callable[..., ChatPage]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    process = Demo(tmp_path_factory.mktemp("demo"))
    process.until_started()
    yield process
    process.terminate()


@pytest.fixture(scope="module")
def whole_demo(demo: Demo) -> str:
    return demo.address


@pytest.fixture
def open_chat(chromium: Browser) -> Iterator[Open]:
    """Open the chat as somebody, until the test is over."""
    opened: list[ChatPage] = []

    def open_as(*arguments: Any, **options: Any) -> ChatPage:
        opened.append(ChatPage(chromium, *arguments, **options))
        return opened[-1]

    yield open_as
    for page in opened:
        page.close()


@pytest.fixture
def ada(open_chat: Open, whole_demo: str) -> ChatPage:
    return open_chat(whole_demo, "ada")


@pytest.fixture
def grace(open_chat: Open, whole_demo: str) -> ChatPage:
    return open_chat(whole_demo, "grace")


def test_what_one_says_the_other_hears_with_the_same_number(open_chat: Open, address: str) -> None:
    ada, grace = open_chat(address, "ada"), open_chat(address, "grace")
    grace.say("Is anybody there?")
    ada.hears("Is anybody there?")
    ada.say("There is.")
    grace.hears("There is.")
    assert ada.numbers() == grace.numbers() == sorted(ada.numbers())
    expect(ada.line("There is.")).to_have_class(re.compile("mine"))
    expect(grace.line("There is.")).not_to_have_class(re.compile("mine"))


def test_the_room_that_was_spoken_in_last_is_the_first(ada: ChatPage, grace: ChatPage) -> None:
    grace.enter("Bugs and moths")
    grace.say("Another one, in relay 12.")
    first = ada.tab.locator("#rooms li").first
    expect(first).to_contain_text("Another one, in relay 12.", timeout=WITHIN_MS)
    expect(first.locator(".unread")).to_have_text("1 unread")
    assert ada.rooms()[0] == "Bugs and moths"
    ada.enter("Bugs and moths")
    expect(first.locator(".unread")).to_have_count(0)
    ada.hears("Another one, in relay 12.")


def test_who_types_is_seen_until_it_is_said(ada: ChatPage, grace: ChatPage) -> None:
    grace.sees("Ada", "Grace")
    grace.tab.get_by_label("Your message").press_sequentially("So")
    ada.shows("#typing", "Grace is typing")
    grace.shows("#typing", "")
    grace.say("So it was a moth.")
    ada.hears("So it was a moth.")
    ada.shows("#typing", "")


def test_those_are_here_who_have_the_room_open(
    ada: ChatPage, open_chat: Open, whole_demo: str
) -> None:
    ada.sees("Ada")
    grace = open_chat(whole_demo, "grace")
    ada.sees("Ada", "Grace")
    grace.enter("Compilers")
    ada.sees("Ada")
    grace.sees("Grace")
    ada.enter("Compilers")
    ada.sees("Ada", "Grace")
    grace.context.close()
    ada.sees("Ada")


def test_nobody_is_here_whose_tab_and_server_died_at_once(
    ada: ChatPage, grace: ChatPage, whole_demo: str
) -> None:
    ada.sees("Ada", "Grace")
    with urlopen(f"{whole_demo}status/") as status:
        clients = [each for each in json.load(status)["clients"] if each["user"] is not None]
    newest = max(clients, key=lambda client: client["since"])  # Grace's
    process = int(newest["process"].split(":")[-1])
    os.kill(process, signal.SIGSTOP)  # it does not notice that she leaves
    grace.context.close()
    os.kill(process, signal.SIGKILL)
    ada.sees("Ada")
    ada.shows("#state", "open")


def test_earlier_messages_are_there_on_request(ada: ChatPage) -> None:
    ada.shows("#room-title", "Lobby")
    newest = ada.numbers()
    earlier = ada.tab.get_by_role("button", name="Earlier messages")
    earlier.click()
    ada.hears("Good morning. Is this the new machine?")
    expect(earlier).to_be_hidden()
    assert ada.numbers() == list(range(1, newest[-1] + 1))
    assert ada.tab.evaluate("document.getElementById('lines').scrollTop") > 0


def test_a_moderator_removes_a_message_and_nobody_else_may(ada: ChatPage, grace: ChatPage) -> None:
    grace.say("Something that I regret")
    ada.hears("Something that I regret")
    expect(grace.tab.locator(".remove")).to_have_count(0)
    line = ada.line("Something that I regret")
    number = line.get_attribute("data-sequence")
    line.hover()
    line.get_by_role("button", name="Remove").click()
    for page in (ada, grace):
        removed = page.tab.locator(f'#lines li[data-sequence="{number}"] .text')
        expect(removed).to_have_text("Removed by Ada", timeout=WITHIN_MS)
    grace.tab.reload()
    grace.hears(f"#{number}")
    expect(grace.line("Something that I regret")).to_have_count(0)


def test_a_removal_overtakes_a_flood(open_chat: Open, address: str) -> None:
    page = open_chat(address, "grace")
    page.tab.get_by_role("button", name="Flood this tab").click()
    flood = page.tab.locator("#flood")
    expect(flood).to_have_attribute("data-overtaken", re.compile(r"^[1-9]\d*$"), timeout=WITHIN_MS)
    page.shows("#flood-outcome", re.compile(r"sent after all 2000\. .* were overtaken\.$"))
    expect(page.lines.last).to_contain_text("Removed by Ada")
    expect(flood).to_have_attribute("data-received", "2000", timeout=2 * WITHIN_MS)
    expect(page.tab.locator("#flood-start")).to_be_enabled()


def test_a_line_that_was_lost_is_asked_for(ada: ChatPage, open_chat: Open, whole_demo: str) -> None:
    def lose_one(browser_end: WebSocketRoute) -> None:
        def pass_on(frame: str | bytes) -> None:
            kind = json.loads(frame)["type"]
            if kind != "chat.line" or "get lost" not in str(frame):
                browser_end.send(frame)

        browser_end.connect_to_server().on_message(pass_on)

    grace = open_chat(whole_demo, "grace", route=lose_one)
    ada.say("This one may get lost.")
    ada.hears("This one may get lost.")
    ada.say("Did it get there?")
    grace.hears("Did it get there?")
    grace.hears("This one may get lost.")
    assert grace.numbers() == list(range(grace.numbers()[0], grace.numbers()[-1] + 1))


def test_what_was_said_during_an_interruption_is_there_afterwards(
    ada: ChatPage, open_chat: Open, whole_demo: str
) -> None:
    ends: list[WebSocketRoute] = []
    is_cut = False

    def interrupt(browser_end: WebSocketRoute) -> None:
        if is_cut:
            browser_end.close(code=CloseCode.SHUTDOWN)
        else:
            ends.append(browser_end)
            browser_end.connect_to_server()

    grace = open_chat(whole_demo, "grace", route=interrupt)
    is_cut = True
    ends[0].close(code=CloseCode.SHUTDOWN)
    ada.say("Can you hear me?")
    ada.hears("Can you hear me?")
    expect(grace.line("Can you hear me?")).to_have_count(0)
    is_cut = False
    grace.hears("Can you hear me?")
    grace.shows("#state", "open")


def test_what_was_said_while_redis_was_away_is_there_afterwards(
    ada: ChatPage, grace: ChatPage, demo: Demo
) -> None:
    ada.shows("#room-title", "Lobby")
    demo.signal(signal.SIGUSR1)
    demo.until_said("redis: stopped")
    grace.say("Is this thing on?")
    grace.hears("Is this thing on?")
    expect(ada.line("Is this thing on?")).to_have_count(0)
    ada.hears("Is this thing on?")
    ada.shows("#state", "open")


def test_whoever_says_too_much_too_fast_is_told_to_wait(open_chat: Open, whole_demo: str) -> None:
    page = open_chat(whole_demo, "grace", "compilers")
    # In one go: a browser that is driven from outside may be slower than the limit.
    page.tab.locator("#text").evaluate(
        """(text) => {
            for (let number = 0; number < 12; number += 1) {
                text.value = `Number ${number}, in haste`;
                text.form.requestSubmit();
            }
        }"""
    )
    expect(page.tab.get_by_role("alert")).to_have_text(
        re.compile(r"^That was fast\. Try again in \d+ s\.$"), timeout=WITHIN_MS
    )
    expect(page.tab.get_by_label("Your message")).to_have_value(re.compile("in haste"))


def test_the_figures_come_in_the_view_that_is_chosen(ada: ChatPage) -> None:
    chart = ada.tab.get_by_role("img")
    ada.shows("#fields", "messages, removed, people")
    expect(chart).to_have_attribute("aria-label", re.compile(r"^\d+ messages, \d people online"))
    ada.tab.get_by_text("Rooms", exact=True).last.click()
    ada.shows("#fields", "rooms")
    expect(chart).to_have_attribute("aria-label", re.compile("^Messages: Lobby "))
    ada.tab.get_by_text("Timeline").click()
    ada.shows("#fields", "minutes")
    expect(chart.locator("rect")).to_have_count(30)


def test_the_figures_follow_what_is_said(ada: ChatPage) -> None:
    chart = ada.tab.get_by_role("img")
    expect(chart).to_have_attribute("aria-label", re.compile("messages"), timeout=WITHIN_MS)
    before = int(str(chart.get_attribute("aria-label")).split()[0])
    ada.say("One more.")
    expect(chart).to_have_attribute(
        "aria-label", re.compile(f"^{before + 1} messages"), timeout=WITHIN_MS
    )


def test_a_room_that_does_not_exist_leads_to_the_lobby(open_chat: Open, whole_demo: str) -> None:
    page = open_chat(whole_demo, "ada", "nowhere")
    page.shows("#room-title", "Lobby")
    assert page.tab.url.endswith("#/lobby")


def test_the_link_to_the_message_box_leaves_the_room_open(ada: ChatPage) -> None:
    ada.enter("Compilers")
    ada.tab.locator(".skip").focus()
    ada.tab.keyboard.press("Enter")
    expect(ada.tab.get_by_label("Your message")).to_be_focused()
    ada.say("From the keyboard")
    ada.hears("From the keyboard")
    ada.shows("#room-title", "Compilers")


@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_fits_a_screen(open_chat: Open, whole_demo: str, width: int) -> None:
    page = open_chat(whole_demo, "grace", width=width)
    page.say(f"A word for {width} pixels: " + "a" * 300)
    page.hears(f"A word for {width} pixels")
    page.tab.get_by_text("The code").click()
    expect(page.tab.get_by_label("Code: Saying something")).to_contain_text("last_sequence")
    assert page.width() == width
    page.tab.goto(f"{whole_demo}chat/?as=nobody")
    expect(page.tab.get_by_text("Who are you?")).to_be_attached()
    assert page.width() == width


def test_the_page_is_found_from_the_first_one(ada: ChatPage, whole_demo: str) -> None:
    ada.tab.goto(whole_demo)
    links = ada.tab.get_by_role("navigation", name="Pages")
    links.get_by_role("link", name="Chat").click()
    ada.tab.get_by_role("link", name="Grace").click()
    expect(ada.tab.get_by_text("You are Grace")).to_be_visible()
    ada.shows("#room-title", "Lobby")


async def test_those_who_speak_at_once_have_numbers_in_a_row(whole_demo: str) -> None:
    urls = [chat_url(whole_demo, person) for person in ("ada", "grace") * 3]

    async def talk(url: str) -> list[int]:
        async with connect(url) as socket:
            await socket.request("chat.enter", {"room": "engine"})
            said = [socket.request("chat.say", {"text": f"At once, {n}"}) for n in range(6)]
            return [line["sequence"] for line in await asyncio.gather(*said)]

    numbers = sorted(chain.from_iterable(await asyncio.gather(*map(talk, urls))))
    assert numbers == list(range(numbers[0], numbers[0] + 36))


async def test_only_a_moderator_may_remove(whole_demo: str) -> None:
    async with connect(chat_url(whole_demo, "grace")) as socket:
        await socket.request("chat.enter", {"room": "lobby"})
        with pytest.raises(RequestError, match="Only a moderator") as refused:
            await socket.request("chat.remove", {"sequence": 1})
    assert refused.value.kind is FailureKind.FATAL


async def test_without_a_name_there_is_no_chat(whole_demo: str) -> None:
    with pytest.raises(ConnectionClosed) as closed:
        async with connect(chat_url(whole_demo, "ada").partition("?")[0]) as socket:
            await socket.receive()
    assert closed.value.code == CloseCode.UNAUTHENTICATED
