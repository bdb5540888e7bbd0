"""Who may connect, and as whom."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from channels.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st

from wsadapter import auth, is_websocket
from wsadapter.close_codes import CloseCode
from wsadapter.layers import client_ids

Headers = list[tuple[bytes, bytes]]


def scope(
    *, origin: str | None = None, host: str = "shop.example", scheme: str = "ws", **headers: str
) -> dict[str, Any]:
    """The scope of a handshake; further headers with underscores for hyphens."""
    given = {"host": host, **({} if origin is None else {"origin": origin}), **headers}
    return {
        "type": "websocket",
        "scheme": scheme,
        "path": "/ws/",
        "query_string": b"",
        "headers": [
            (name.replace("_", "-").encode(), value.encode("utf-8"))
            for name, value in given.items()
        ],
        "client": ("192.0.2.7", 4711),
        "server": ("10.0.0.1", 8000),
    }


def refuses_all(origin: str, scope: Mapping[str, Any]) -> bool:
    return False


def allows_partners(origin: str, scope: Mapping[str, Any]) -> bool:
    return origin == "https://partner.example" and scope["path"] == "/ws/"


# Origins. A row: the site's settings, the handshake, whether it may connect.

SITE: dict[str, Any] = {"ALLOWED_HOSTS": ["shop.example"]}
ANY_HOST: dict[str, Any] = {"ALLOWED_HOSTS": ["*"]}
TRUSTED: dict[str, Any] = {
    **SITE,
    "CSRF_TRUSTED_ORIGINS": ["https://pay.example", "https://*.cdn.example", "http://dev.example:81"],
}  # fmt: skip
DEBUG: dict[str, Any] = {"DEBUG": True, "ALLOWED_HOSTS": []}
TLS_PROXY: dict[str, Any] = {
    **SITE,
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
}
HOST_PROXY: dict[str, Any] = {**SITE, "USE_X_FORWARDED_HOST": True}


def allowing(origins: Any, **more: Any) -> dict[str, Any]:
    return {**SITE, "WSADAPTER": {"ALLOWED_ORIGINS": origins, **more}}


PATH = f"{__name__}.allows_partners"

ORIGINS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    # The page's own site
    ("same", SITE, scope(origin="http://shop.example"), True),
    ("same over TLS", SITE, scope(origin="https://shop.example", scheme="wss"), True),
    ("same with default port", SITE, scope(origin="http://shop.example:80"), True),
    (
        "same, the host with default port",
        SITE,
        scope(origin="https://shop.example", host="shop.example:443", scheme="wss"),
        True,
    ),
    (
        "same other port on both sides",
        SITE,
        scope(origin="http://shop.example:8000", host="shop.example:8000"),
        True,
    ),
    ("upper case", SITE, scope(origin="HTTP://Shop.Example", host="SHOP.example"), True),
    ("other port", SITE, scope(origin="http://shop.example:8000"), False),
    (
        "port lost",
        SITE,
        scope(origin="http://shop.example", host="shop.example:8000"),
        False,
    ),
    ("default port of the other scheme", SITE, scope(origin="http://shop.example:443"), False),
    ("other scheme", SITE, scope(origin="https://shop.example"), False),
    ("other scheme over TLS", SITE, scope(origin="http://shop.example", scheme="wss"), False),
    ("WebSocket scheme", SITE, scope(origin="ws://shop.example"), False),
    ("other host", SITE, scope(origin="http://evil.example"), False),
    ("subdomain", SITE, scope(origin="http://blog.shop.example"), False),
    ("look-alike suffix", SITE, scope(origin="http://notshop.example"), False),
    ("look-alike prefix", SITE, scope(origin="http://shop.example.evil.example"), False),
    (
        "IDN as browsers send it",
        {"ALLOWED_HOSTS": ["xn--bcher-kva.example"]},
        scope(origin="http://xn--bcher-kva.example", host="xn--bcher-kva.example"),
        True,
    ),
    (
        "IPv6",
        {"ALLOWED_HOSTS": ["[2001:db8::1]"]},
        scope(origin="http://[2001:db8::1]:8000", host="[2001:db8::1]:8000"),
        True,
    ),
    # ALLOWED_HOSTS decides about the Host, and never widens the origins
    (
        "a host that is not allowed",
        SITE,
        scope(origin="http://evil.example", host="evil.example"),
        False,
    ),
    ("any host, other origin", ANY_HOST, scope(origin="http://evil.example"), False),
    ("any host, same origin", ANY_HOST, scope(origin="http://shop.example"), True),
    (
        "subdomains allowed as hosts are no origins",
        {"ALLOWED_HOSTS": [".shop.example"]},
        scope(origin="http://blog.shop.example"),
        False,
    ),
    # Behind proxies
    (
        "TLS ends at the proxy",
        TLS_PROXY,
        scope(origin="https://shop.example", x_forwarded_proto="https"),
        True,
    ),
    (
        "the proxy says that it was no TLS",
        TLS_PROXY,
        scope(origin="https://shop.example", x_forwarded_proto="http", scheme="wss"),
        False,
    ),
    (
        "the header of a proxy that is not declared",
        SITE,
        scope(origin="https://shop.example", x_forwarded_proto="https"),
        False,
    ),
    (
        "the proxy tells the host",
        HOST_PROXY,
        scope(origin="http://shop.example", host="backend", x_forwarded_host="shop.example"),
        True,
    ),
    (
        "the proxy tells a host that is not allowed",
        HOST_PROXY,
        scope(origin="http://evil.example", x_forwarded_host="evil.example"),
        False,
    ),
    (
        "the host header of a proxy that is not declared",
        ANY_HOST,
        scope(origin="http://evil.example", x_forwarded_host="evil.example"),
        False,
    ),
    # CSRF_TRUSTED_ORIGINS
    ("trusted", TRUSTED, scope(origin="https://pay.example"), True),
    ("trusted with default port", TRUSTED, scope(origin="https://pay.example:443"), True),
    ("trusted, other scheme", TRUSTED, scope(origin="http://pay.example"), False),
    ("trusted, other port", TRUSTED, scope(origin="https://pay.example:444"), False),
    ("trusted with its port", TRUSTED, scope(origin="http://dev.example:81"), True),
    ("trusted without its port", TRUSTED, scope(origin="http://dev.example"), False),
    ("wildcard", TRUSTED, scope(origin="https://a.cdn.example"), True),
    ("wildcard, deeper", TRUSTED, scope(origin="https://a.b.cdn.example"), True),
    ("wildcard, upper case", TRUSTED, scope(origin="https://A.CDN.example"), True),
    ("wildcard, the parent", TRUSTED, scope(origin="https://cdn.example"), False),
    ("wildcard, look-alike", TRUSTED, scope(origin="https://evilcdn.example"), False),
    ("wildcard, other scheme", TRUSTED, scope(origin="http://a.cdn.example"), False),
    ("wildcard, other port", TRUSTED, scope(origin="https://a.cdn.example:8443"), False),
    # ALLOWED_ORIGINS
    ("listed", allowing(["https://app.example"]), scope(origin="https://app.example"), True),
    ("not listed", allowing(["https://app.example"]), scope(origin="https://b.example"), False),
    ("wildcards", allowing({"https://*.b.example"}), scope(origin="https://a.b.example"), True),
    ("own site too", allowing(["https://a.example"]), scope(origin="http://shop.example"), True),
    ("None", allowing(None), scope(origin="http://evil.example"), False),
    ("callable says yes", allowing(allows_partners), scope(origin="https://partner.example"), True),
    ("callable says no", allowing(allows_partners), scope(origin="https://b.example"), False),
    ("callable only widens", allowing(refuses_all), scope(origin="http://shop.example"), True),
    ("dotted path", allowing(PATH), scope(origin="https://partner.example"), True),
    ("dotted path says no", allowing(PATH), scope(origin="https://b.example"), False),
    ("any origin", allowing("*"), scope(origin="https://evil.example"), True),
    ("any origin in a list", allowing(["*"]), scope(origin="https://evil.example"), True),
    ("any origin, null", allowing("*"), scope(origin="null"), True),
    # DEBUG: this machine, on any port
    ("DEBUG localhost", DEBUG, scope(origin="http://localhost:5173", host="localhost:8000"), True),
    ("DEBUG 127.0.0.1", DEBUG, scope(origin="http://127.0.0.1:5173", host="localhost:8000"), True),
    ("DEBUG [::1]", DEBUG, scope(origin="http://[::1]:5173", host="localhost:8000"), True),
    ("DEBUG https", DEBUG, scope(origin="https://localhost", host="localhost:8000"), True),
    ("DEBUG another machine", DEBUG, scope(origin="http://192.0.2.1", host="localhost"), False),
    ("DEBUG look-alike", DEBUG, scope(origin="http://localhost.evil.org", host="localhost"), False),
    ("no DEBUG, localhost", SITE, scope(origin="http://localhost:5173"), False),
    # What is no origin
    ("null", SITE, scope(origin="null"), False),
    ("null with DEBUG", DEBUG, scope(origin="null", host="localhost"), False),
    ("empty", SITE, scope(origin=""), False),
    ("no scheme", SITE, scope(origin="shop.example"), False),
    ("no host", SITE, scope(origin="http://"), False),
    ("file", SITE, scope(origin="file://"), False),
    ("an extension", SITE, scope(origin="chrome-extension://shop.example"), False),
    ("two in one header", SITE, scope(origin="http://shop.example http://evil.example"), False),
    ("junk", SITE, scope(origin="http://[::1"), False),
    ("junk port", SITE, scope(origin="http://shop.example:port"), False),
    ("port out of range", SITE, scope(origin="http://shop.example:99999"), False),
    ("user in front", SITE, scope(origin="http://evil@shop.example"), False),
    ("empty user in front", SITE, scope(origin="http://@shop.example"), False),
    ("host as user", SITE, scope(origin="http://shop.example@evil.example"), False),
    ("Unicode", SITE, scope(origin="http://shöp.example"), False),
    ("Unicode look-alike", SITE, scope(origin="http://ѕhop.example"), False),
    ("full-width", SITE, scope(origin="http://ｓhop.example"), False),
    ("NUL", SITE, scope(origin="http://shop.example\0.evil.example"), False),
    ("junk host", SITE, scope(origin="http://shop.example", host="shop.example/evil"), False),
    ("empty host", SITE, scope(origin="http://shop.example", host=""), False),
    # No Origin header: not a browser
    ("none", SITE, scope(), True),
    ("none, told so", {**SITE, "WSADAPTER": {"ALLOW_NO_ORIGIN": True}}, scope(), True),
    ("none, forbidden", {**SITE, "WSADAPTER": {"ALLOW_NO_ORIGIN": False}}, scope(), False),
    ("none, forbidden, any origin", allowing("*", ALLOW_NO_ORIGIN=False), scope(), False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("configuration", "handshake", "allowed"),
    [row[1:] for row in ORIGINS],
    ids=[row[0] for row in ORIGINS],
)
def test_origins(configuration: dict[str, Any], handshake: dict[str, Any], allowed: bool) -> None:
    with override_settings(**{"DEBUG": False, "CSRF_TRUSTED_ORIGINS": [], **configuration}):
        refusal = auth.origin_refusal(handshake)
    assert (refusal is None) is allowed, refusal


@pytest.mark.parametrize(
    "origins", [["http://shop.example"] * 2, ["http://shop.example", "http://evil.example"]]
)
@override_settings(ALLOWED_HOSTS=["shop.example"])
def test_two_origin_headers_are_one_too_many(origins: list[str]) -> None:
    handshake = scope()
    handshake["headers"] += [(b"Origin", origin.encode()) for origin in origins]
    assert auth.origin_refusal(handshake) is not None


@override_settings(ALLOWED_HOSTS=["shop.example"])
def test_the_name_of_the_header_may_be_in_any_case() -> None:
    handshake = scope()
    handshake["headers"].append((b"ORIGIN", b"http://evil.example"))
    assert auth.origin_refusal(handshake) is not None


@override_settings(ALLOWED_HOSTS=["shop.example"])
def test_a_server_on_a_unix_socket_has_an_own_origin_too() -> None:
    handshake = {**scope(origin="http://shop.example"), "server": ["/run/shop.sock", None]}
    assert auth.origin_refusal(handshake) is None


@override_settings(ALLOWED_HOSTS=["*"])
def test_a_request_without_a_host_has_no_own_origin() -> None:
    handshake = {**scope(), "server": None, "headers": [(b"origin", b"http://evil.example")]}
    assert auth.origin_refusal(handshake) is not None


@given(st.text(st.characters(max_codepoint=255)))
def test_no_text_is_an_origin_by_accident(text: str) -> None:
    handshake = scope()
    handshake["headers"].append((b"origin", text.encode("latin-1")))
    with override_settings(ALLOWED_HOSTS=["shop.example"], DEBUG=False):
        assert auth.origin_refusal(handshake) is not None


def test_a_refusal_says_what_to_set() -> None:
    refusal = auth.origin_refusal(scope(origin="http://evil.example")) or ""
    assert "'http://evil.example'" in refusal
    assert "CSRF_TRUSTED_ORIGINS" in refusal
    assert 'WSADAPTER["ALLOWED_ORIGINS"]' in refusal
    with override_settings(WSADAPTER={"ALLOW_NO_ORIGIN": False}):
        assert 'WSADAPTER["ALLOW_NO_ORIGIN"]' in (auth.origin_refusal(scope()) or "")


# Origins that stand in for the setting. A row: what is given, the origin, whether it may connect.

INSTEAD: list[tuple[str, Any, str, bool]] = [
    ("listed", ["https://app.example"], "https://app.example", True),
    ("not listed", ["https://app.example"], "https://b.example", False),
    ("a set", {"https://app.example"}, "https://app.example", True),
    ("a tuple", ("https://app.example",), "https://app.example", True),
    ("wildcard", ["https://*.b.example"], "https://a.b.example", True),
    ("wildcard, the parent", ["https://*.b.example"], "https://b.example", False),
    ("any", "*", "https://evil.example", True),
    ("any in a list", ["*"], "https://evil.example", True),
    ("a rule", allows_partners, "https://partner.example", True),
    ("a rule that says no", allows_partners, "https://b.example", False),
    ("a rule by its path", PATH, "https://partner.example", True),
    ("a rule by its path that says no", PATH, "https://b.example", False),
    ("the own site is always one", ["https://app.example"], "http://shop.example", True),
    ("so it is beside a rule", refuses_all, "http://shop.example", True),
    ("trusted ones are too", ["https://app.example"], "https://pay.example", True),
    ("none", [], "https://app.example", False),
    ("none, the own site", [], "http://shop.example", True),
    ("none, what the setting has", [], "https://set.example", False),
    ("others, what the setting has", ["https://app.example"], "https://set.example", False),
    ("not given, what the setting has", None, "https://set.example", True),
    ("not given, another", None, "https://app.example", False),
]
SET: dict[str, Any] = {
    **SITE,
    "CSRF_TRUSTED_ORIGINS": ["https://pay.example"],
    "WSADAPTER": {"ALLOWED_ORIGINS": ["https://set.example"]},
}


@pytest.mark.parametrize(
    ("given", "origin", "allowed"), [row[1:] for row in INSTEAD], ids=[row[0] for row in INSTEAD]
)
@override_settings(**SET)
def test_what_is_given_stands_in_for_the_setting(given: Any, origin: str, allowed: bool) -> None:
    refusal = auth.origin_refusal(scope(origin=origin), given)
    assert (refusal is None) is allowed, refusal


@override_settings(**SET)
def test_a_refusal_says_which_list_it_is_not_in() -> None:
    handshake = scope(origin="https://b.example")
    by_setting = auth.origin_refusal(handshake) or ""
    by_path = auth.origin_refusal(handshake, []) or ""
    assert 'WSADAPTER["ALLOWED_ORIGINS"]' in by_setting and "this path" not in by_setting
    assert "the origins of this path" in by_path and "ALLOWED_ORIGINS" not in by_path


@pytest.mark.parametrize("allow", [True, False])
def test_what_is_given_says_nothing_of_those_without_an_origin(allow: bool) -> None:
    with override_settings(WSADAPTER={"ALLOW_NO_ORIGIN": allow}):
        for given in ("*", [], allows_partners):
            assert (auth.origin_refusal(scope(), given) is None) is allow


def test_a_refusal_is_one_line_of_bounded_length() -> None:
    refusal = auth.origin_refusal(scope(origin="http://evil.example\n" + "x" * 10_000)) or ""
    assert "\n" not in refusal
    assert len(refusal) < 400


# The middleware


async def run_through_check(
    handshake: dict[str, Any], *origins_of: Callable[[Any], Any]
) -> tuple[list[Any], list[Any]]:
    """The scopes that the application saw, and what was sent to the server."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    communicator = ApplicationCommunicator(auth.OriginCheck(application, *origins_of), handshake)
    await communicator.send_input({"type": "websocket.connect"})
    await communicator.wait()
    sent = []
    while not communicator.output_queue.empty():
        sent.append(communicator.output_queue.get_nowait())
    return seen, sent


async def test_a_foreign_page_is_refused_before_the_application_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen, sent = await run_through_check(scope(origin="http://evil.example"))
    assert seen == []
    assert sent == [{"type": "websocket.close"}]
    [record] = [r for r in caplog.records if r.name == "wsadapter.handshake"]
    assert record.levelno == logging.WARNING
    assert "192.0.2.7" in record.getMessage()
    assert "HTTP status 403" in record.getMessage()


@override_settings(ALLOWED_HOSTS=["shop.example"])
async def test_an_own_page_is_let_through_and_not_checked_again() -> None:
    seen, sent = await run_through_check(scope(origin="http://shop.example"))
    assert [scope[auth.ORIGIN_CHECKED] for scope in seen] == [True]
    assert sent == []


@override_settings(ALLOWED_HOSTS=["shop.example"])
@pytest.mark.parametrize(
    ("origins", "passes"), [(None, False), ([], False), (["https://app.example"], True)]
)
async def test_the_origins_of_a_route_are_asked_for_its_scope(origins: Any, passes: bool) -> None:
    asked: list[Any] = []

    def origins_of(scope: Any) -> Any:
        asked.append(scope)
        return origins

    handshake = scope(origin="https://app.example")
    seen, sent = await run_through_check(handshake, origins_of)
    assert asked == [handshake]
    assert bool(seen) is passes and bool(sent) is not passes


async def test_other_protocols_pass_the_check_untouched() -> None:
    handshake = {**scope(origin="http://evil.example"), "type": "http"}
    seen, _ = await run_through_check(handshake)
    assert seen == [handshake]


@pytest.mark.parametrize("client", [None, ("", 0), ["192.0.2.7", 1]])
def test_a_refusal_is_logged_whatever_is_known_of_the_client(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    auth.log_refusal({"path": "/ws/", "client": client}, "the reason", code=3500)
    [record] = caplog.records
    assert "close code 3500: the reason." in record.getMessage()


def test_nobody_forges_a_line_of_the_log_by_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    auth.log_refusal({"path": "/ws/"}, "no\nERROR root: forged \x1b[31m", code=3501)
    [record] = caplog.records
    assert record.getMessage().isprintable() and "forged" in record.getMessage()


# What a request carries


def test_headers_are_found_in_any_case() -> None:
    handshake = {"headers": [(b"X-User-Id", b"7"), (b"x-user-id", b"8")]}
    assert auth.header(handshake, "x-USER-id") == "7"
    assert auth.header(handshake, "x-other") is None
    assert auth.header({}, "x-user-id") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"user=7", "7"),
        (b"a=1&user=7&user=8", "7"),
        (b"user=", ""),
        (b"user", ""),
        (b"user=ann%40example.org", "ann@example.org"),
        (b"user=%D0%96+1", "Ж 1"),
        (b"user=%FF", "�"),
        (b"", None),
        (b"User=7", None),
    ],
)
def test_query_parameters(text: bytes, value: str | None) -> None:
    assert auth.query({"query_string": text}, "user") == value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (None, None),
        ("query:user_id", "7"),
        ("header:X-User-Id", "8"),
        ("query:other", None),
        ("header:other", None),
    ],
)
def test_a_user_or_client_id_comes_from_where_the_setting_says(
    source: str | None, value: str | None
) -> None:
    handshake = {"query_string": b"user_id=7", "headers": [(b"x-user-id", b"8")]}
    assert auth.from_request(handshake, source) == value


@given(st.binary(), st.binary())
def test_no_bytes_of_a_client_raise(query: bytes, header: bytes) -> None:
    handshake = {"query_string": query, "headers": [(b"x-user-id", header)]}
    assert isinstance(auth.from_request(handshake, "header:X-User-Id"), str)
    auth.from_request(handshake, "query:user_id")


# Identity


@pytest.mark.parametrize(
    ("user", "id"),
    [(User(pk=7), "7"), (7, "7"), ("ann", "ann"), (None, None), (AnonymousUser(), None)],
)
def test_who_a_user_is(user: Any, id: str | None) -> None:
    assert auth.identify(user) == id


def test_a_session_is_known_by_a_digest_that_does_not_tell_its_key() -> None:
    [digest] = auth.session_digests(SessionStore("secret-key"))
    assert "secret-key" not in digest
    assert auth.session_digests(SessionStore("secret-key")) == {digest}
    assert digest not in auth.session_digests(SessionStore("other-key"))


def test_a_named_login_is_known_by_its_name_as_well() -> None:
    session = SessionStore("earlier-key")
    session._session_cache = {auth.LOGIN_NAME: "login"}
    before = auth.session_digests(session)
    session._session_key = "another-key"  # as after a change of the password
    after = auth.session_digests(session)
    assert len(before) == len(after) == 2
    assert len(before & after) == 1


@pytest.mark.parametrize("session", [None, SessionStore()])
def test_without_a_session_there_is_no_digest(session: Any) -> None:
    assert auth.session_digests(session) == frozenset()


@pytest.mark.parametrize(
    "client_id", ["a", "tab-1", "x" * 128, "A.b_c~d:e@f+g=h-9", "ann@example.org"]
)
def test_a_client_may_choose_such_an_id(client_id: str) -> None:
    assert auth.client_id_refusal(client_id) is None


@pytest.mark.parametrize(
    "client_id",
    ["", " ", "x" * 129, "a b", "a\n", "a\0", "a/b", "Ж", "😀", "a!b", "{x}", "a%20b"],
    ids=ascii,
)
def test_a_malformed_client_id_is_refused(client_id: str) -> None:
    refusal = auth.client_id_refusal(client_id)
    assert refusal is not None
    assert refusal.code == CloseCode.BAD_REQUEST
    assert "malformed" in refusal.reason


def test_a_client_may_not_take_an_id_of_the_servers_form() -> None:
    refusal = auth.client_id_refusal(client_ids.new())
    assert refusal is not None
    assert refusal.code == CloseCode.BAD_REQUEST
    assert "given by the server" in refusal.reason


@given(st.text())
def test_a_refusals_reason_fits_into_a_close_frame(client_id: str) -> None:
    refusal = auth.client_id_refusal(client_id)
    assert refusal is None or len(refusal.reason.encode()) <= 123


# is_websocket

HANDSHAKES = [
    ({"Upgrade": "websocket", "Connection": "Upgrade"}, True),
    ({"Upgrade": "WebSocket", "Connection": "keep-alive, upgrade"}, True),
    ({"Upgrade": "h2c, websocket", "Connection": "Upgrade"}, True),
    ({"Upgrade": "websocket"}, False),
    ({"Upgrade": "h2c", "Connection": "Upgrade"}, False),
    ({"Upgrade": "websockets", "Connection": "Upgrade"}, False),
    ({"Connection": "Upgrade"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("headers", "expected"), HANDSHAKES)
def test_a_request_is_a_websocket_handshake_by_its_headers(
    headers: dict[str, str], expected: bool
) -> None:
    assert is_websocket(RequestFactory().get("/ws/", headers=headers)) is expected


@pytest.mark.parametrize(
    ("type", "expected"), [("websocket", True), ("http", False), (None, False)]
)
def test_a_scope_is_a_websocket_by_its_type(type: str | None, expected: bool) -> None:
    assert is_websocket({} if type is None else {"type": type}) is expected


@pytest.mark.parametrize("user", ["", "\ud800x"], ids=["empty", "half a pair"])
def test_what_can_be_no_user_is_refused_before_it_meets_others(user: str) -> None:
    with pytest.raises(ValueError, match="cannot be a user's id"):
        auth.identify(user)
