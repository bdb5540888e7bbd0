"""{% wsadapter_script %}: what it writes, and that a page under a strict CSP can import by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.template import Context, Engine
from django.utils.functional import SimpleLazyObject

from tests.js.lab import Lab

MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


def render(tag: str = "{% wsadapter_script %}", **context: Any) -> str:
    engine = Engine(libraries={"wsadapter": "wsadapter.templatetags.wsadapter"})
    return engine.from_string("{% load wsadapter %}" + tag).render(Context(context))


def test_gives_the_module_its_name() -> None:
    assert render() == (
        '<script type="importmap">'
        '{"imports": {"wsadapter": "/static/wsadapter/socket.js"}}</script>\n'
        '<script type="module" src="/static/wsadapter/socket.js"></script>'
    )


def test_follows_the_manifest_storage(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": MANIFEST}}
    settings.INSTALLED_APPS = ["django.contrib.staticfiles", "wsadapter"]
    call_command("collectstatic", interactive=False, verbosity=0)
    (hashed,) = (path.name for path in tmp_path.glob("wsadapter/socket.????????????.js"))
    assert render().count(f'"/static/wsadapter/{hashed}"') == 2


def test_no_address_ends_the_script(settings: Any) -> None:
    settings.STATIC_URL = 'https://cdn.example/</script>"/'
    html = render()
    assert html.count("</script>") == 2
    assert "\\u003c/script>" in html
    assert "&lt;/script&gt;&quot;/" in html


NONCES: dict[str, Callable[[], str]] = {
    "argument": lambda: render("{% wsadapter_script nonce=mine %}", mine='a"b', csp_nonce="not"),
    "empty argument": lambda: render("{% wsadapter_script nonce=unset %}", csp_nonce='a"b'),
    "context": lambda: render(csp_nonce='a"b', request=SimpleNamespace(csp_nonce="not")),
    "request": lambda: render(request=SimpleNamespace(csp_nonce=SimpleLazyObject(lambda: 'a"b'))),
    "false until read": lambda: render(request=SimpleNamespace(csp_nonce=FalseUntilRead('a"b'))),
}


class FalseUntilRead:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return False


@pytest.mark.parametrize("source", NONCES)
def test_both_tags_carry_the_nonce(source: str) -> None:
    html = NONCES[source]()
    assert html.startswith('<script type="importmap" nonce="a&quot;b">{')
    assert html.endswith(' nonce="a&quot;b"></script>')


def test_a_request_without_nonce_is_no_error() -> None:
    assert "nonce" not in render(request=SimpleNamespace())
    assert "nonce" not in render(csp_nonce=None, request=None)


def test_imports_by_name_under_a_strict_policy(lab: Lab) -> None:
    page = (
        '<!doctype html><link rel="icon" href="data:,">'
        + render(csp_nonce="once")
        + '<script type="module" nonce="once">import { connect } from "wsadapter";'
        "window.socket = connect();</script>"
    )
    policy = "default-src 'none'; script-src 'nonce-once'; connect-src 'self'; img-src data:"
    lab.site.pages["/strict/"] = (page, {"Content-Security-Policy": policy})
    with lab.tab("/strict/") as tab:
        peer = tab.accepted()
        peer.welcome("c7")
        assert peer.path == "/ws/"
        assert tab.run("return socket.clientId") == "c7"
        assert tab.errors == []
