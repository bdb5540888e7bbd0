"""Secrets are masked wherever a log may meet them; all else is shown as it came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.masking import MAX_TEXT_LENGTH, masked, masked_query, one_line

SECRET_NAMES = [
    "password",
    "Passwd",
    "new_password2",
    "client-secret",
    "accessToken",
    "ticket",
    "AUTHORIZATION",
    "api_key",
    "apiKey",
    "x-api-key",
    "api key",
    "set-cookie",
    "sessionid",
    "csrfmiddlewaretoken",
    "credentials",
    "private_key",
    "passcode",
    "signature",
    "pass",
    "user-pin",
    "jwt",
    "auth",
    "url-sig",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize(
    "value", ["hunter2", "", 7, 1.5, True, None, ["hunter2"], {"value": "hunter2"}], ids=repr
)
def test_a_secret_of_any_type_is_masked_at_any_depth(name: str, value: Any) -> None:
    message = {"type": "log.in", "inner": [{name: value, "room": 7}]}
    shown = {"type": "log.in", "inner": [{name: "***", "room": 7}]}
    assert json.loads(masked(json.dumps(message))) == shown


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "chat.say",  "text": "hi", "price": 1.50}',
        '{"type": "chat.say", "text": "hi"',
        "plain text, with room=7 and nothing to hide",
        "forgot my password",
        '{"author": "ada", "passenger": 7, "shopping": true, "sigma": 1}',
        "see https://shop.example/@ada",
        "",
    ],
)
def test_text_without_a_secret_is_left_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("login name=joe password=hunter2 room=7", "login name=joe password=*** room=7"),
        ("name=joe&user[password]=hunter2&room=7", "name=joe&user[password]=***&room=7"),
        ("password: correct horse\nroom: 7", "password: ***\nroom: 7"),
        ("password:   correct horse", "password:   ***"),
        ("Authorization: Basic am9l Og==\nroom: 7", "Authorization: ***\nroom: 7"),
        ("Cookie: a=hunter2; b=hunter2", "Cookie: ***"),
        ("send Bearer abc.def to us", "send Bearer *** to us"),
        ("token = 'hunter 2' room=7", "token = *** room=7"),
        ("{'token': 'hunter2', 'room': 7}", "{'token': ***, 'room': 7}"),
        ("private_key: -----BEGIN KEY-----\nabc\n-----END", "private_key: ***"),
        ("/login%3Ftoken%3Dhunter2", "/login%3Ftoken%3D***"),
    ],
)
def test_pairs_in_plain_text_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"room":7,"password":"hunt', '{"room":7,"password":***'),
        ('{"password":"hunter2","room":7', '{"password":***,"room":7'),
        (r'{"password":"hunter\"2","room":7', '{"password":***,"room":7'),
        ('{"password": {"old": "hunter2"', '{"password": ***'),
        ('{"password": ["hunter2"', '{"password": ***'),
        (r'{"p\u0061ssword": "hunter2"', '{"password": ***'),
        (r'{"a": "{\"password\":\"hunter2', r'{"a": "{\"password\":***'),
        ('{"password":"hunter2","a":NaN}', '{"password":***,"a":NaN}'),
    ],
)
def test_json_that_is_broken_is_masked_as_well(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r'{"p\u0061ssword": "hunter2"}', '{"password":"***"}'),
        ('{"a": {"password": ["hunter2"]}, "a": 1}', '{"a":1}'),
        (r'{"a": "{\"password\": [\"hunter2\"]}"}', r'{"a":"{\"password\":\"***\"}"}'),
        ('{"a": "password: hunter2"}', '{"a":"password: ***"}'),
        ('{"token=hunter2": 7}', '{"token=***":"***"}'),
    ],
)
def test_a_secret_does_not_hide_in_json(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_of_a_long_text_the_beginning_is_masked() -> None:
    text = json.dumps({"password": "hunter2", "text": "x" * MAX_TEXT_LENGTH})
    assert masked(text).startswith('{"password": ***, "text": "xxx')
    assert len(masked(text)) < len(text)


def test_json_that_nests_too_deeply_is_masked_as_text() -> None:
    assert masked("[" * 50_000 + '{"password":"hunter2') == "[" * 50_000 + '{"password":***'


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("room=7&name=J%C3%B6", "room=7&name=J%C3%B6"),
        ("room=7&token=hunter2", "room=7&token=***"),
        ("%74ok%65n=hunter2", "token=***"),
        ("token=hunter%26hunter2", "token=***"),
        ("a[token]=hunter2", "a[token]=***"),
        ("next=%2Flogin%3Ftoken%3Dhunter+2&x=1", "next=***&x=1"),
        ("next=%252Flogin%253Ftoken%253Dhunter2", "next=***"),
        ("filter=%7B%22password%22%3A%22hunter2%22%7D", "filter=***"),
        ("%7B%22password%22%3A%22hunter2%22%7D", '{"password":"***"}'),
        ("q=password+reset", "q=password+reset"),
        ("token", "token"),
        ("", ""),
    ],
)
def test_a_query_string_is_masked_as_its_reader_decodes_it(query: str, shown: str) -> None:
    assert masked_query(query) == shown


# A secret is of letters that nothing else has, among all that may confuse a parser.
SECRETS = st.text("QXJ" + "\"\\' ,;:=&%#{}[]<>|\n\t", min_size=1)
SECRET_VALUES = st.recursive(
    SECRETS, lambda inner: st.lists(inner) | st.dictionaries(SECRETS, inner), max_leaves=4
)
OPEN_NAMES = st.text("abc", max_size=3)
OPEN_VALUES = st.none() | st.integers() | st.text('abc"\\{[:= \n')
HOLDERS = st.builds(
    lambda name, value, rest: {**rest, name: value},
    st.sampled_from(SECRET_NAMES),
    SECRET_VALUES,
    st.dictionaries(OPEN_NAMES, OPEN_VALUES, max_size=2),
)
MESSAGES = st.recursive(
    HOLDERS,
    lambda inner: (
        st.lists(inner | OPEN_VALUES, max_size=3)
        | st.dictionaries(OPEN_NAMES, inner | OPEN_VALUES, max_size=3)
        | st.dictionaries(OPEN_NAMES, inner.map(json.dumps), max_size=2)
    ),
    max_leaves=4,
)


def betrayed(shown: str) -> set[str]:
    return set(shown) & set("QXJ")


@given(MESSAGES, st.sampled_from([None, 1]), st.booleans())
def test_no_secret_of_any_json_is_shown(message: Any, indent: int | None, escaped: bool) -> None:
    text = json.dumps(message, indent=indent, ensure_ascii=escaped)
    assert not betrayed(masked(text))
    assert not betrayed(masked(json.dumps(text)))


@given(HOLDERS, st.data())
def test_no_secret_is_shown_wherever_json_is_cut_off(message: Any, data: st.DataObject) -> None:
    text = json.dumps({"a": [message]})
    end = data.draw(st.integers(0, len(text)))
    assert not betrayed(masked(text[:end]))


@given(st.text())
def test_nothing_fails(text: str) -> None:
    assert isinstance(masked(text + "token"), str)
    assert isinstance(masked_query(text + "token"), str)


@pytest.mark.parametrize(
    "part",
    [
        *("a", "password", "token ", 'token"', "token =", '{"token":"', "token%", "api ", "a."),
        *("bearer", "bearer ", " ", "[", "%25", "\\", "\\u0061", '"', "=", "&"),
    ],
)
def test_no_text_takes_for_ever(part: str) -> None:
    """With quadratic time it would be minutes, where it is a tenth of a second."""
    text = ("token:" + part * MAX_TEXT_LENGTH)[:MAX_TEXT_LENGTH]
    for line in (text, f"a{text}"):
        assert masked(line) != line
    assert masked_query(text)


@given(st.text())
def test_what_somebody_else_wrote_stays_on_its_line(text: str) -> None:
    assert one_line(text).isprintable()
    assert one_line(text) == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Basic dXNlcjpodW50ZXIy", "Basic ***"),
        ("https://ada:hunter2@shop.example/", "https://***@shop.example/"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl", "***"),
        ('{"note": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2ln"}', '{"note":"***"}'),
    ],
)
def test_some_secrets_are_known_by_their_looks(text: str, shown: str) -> None:
    assert masked(text) == shown
