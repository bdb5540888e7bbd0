"""Text with its secrets masked, fit for a log.

What is secret is told by its name: the value of ``password``, ``csrf_token`` or ``apiKey`` is,
and so is what follows ``Bearer``. Where it is unclear how far a value reaches, too much is
masked rather than too little.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from wsadapter.errors import EncodeError
from wsadapter.wire.payload import to_json

MASK = "***"

#: In characters: of a longer text only the beginning is masked and kept.
MAX_TEXT_LENGTH = 64 * 1024

_NAMES = (
    r"(?:password|passwd|passphrase|pwd|secret|token|ticket|authori[sz]ation|cookie|session|csrf"
    r"|credential|(?:api|access|private)[\s_-]?key|passcode|signature"
    # Short ones count as whole words only: an author is no secret.
    r"|(?<![a-z])(?:pass|pw|pin|otp|cvv|cvc|jwt|auth|sig)(?![a-z]))"
)
_secret_name = re.compile(_NAMES, re.IGNORECASE)

# An escape may spell a name: "p\u0061ssword".
_hint = re.compile(rf"{_NAMES}|(?:bearer|basic)\s|\\u|eyJ|://[^/\s]*@", re.IGNORECASE)

_escaped_ascii = re.compile(r"\\u00([2-7][0-9a-f])", re.IGNORECASE)

# Each word is tried once, from its first character, and nothing is given back: linear time.
_pair = re.compile(
    rf"""
    (?P<name_and_sign>
        (?<! [\w.\-\[\]] )  (?= [\w.\-\[\]]*? {_NAMES} )
        [\w.\-\[\]]++  (?: \s key [\w.\-\[\]]*+ )?
        ["'\\]*+  \s*+
        (?: (?P<colon> : ) | = | %(?:25)*3[ad] )
        \s*+
    )
    (?:
        " (?: [^"\\] | \\. )*+ "?           # quoted, perhaps with the end cut off
      | ' (?: [^'\\] | \\. )*+ '?
      | (?: [\[{{|>\\] | ----- ) .*+        # an object, a block, a PEM: who knows how far
      | (?(colon) [^\r\n]*+ | [^\s&]*+ )
    )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_layered_percent = re.compile("%(?:25)+")
_bearer = re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE)
#: A JSON Web Token is known by its looks: it begins with an encoded ``{"``.
_web_token = re.compile(r"\beyJ[\w-]{8,}+\.[\w.-]++")
_user_info = re.compile(r"(?<=://)[^/\s@:]*+:[^/\s@]*+(?=@)")


def masked(text: str) -> str:
    """The text with ``***`` for every secret; as it is, where nothing in it looks like one.

    JSON is masked at any depth, and comes back compact; so is JSON within its strings. In other
    text, and in JSON that is cut off, ``name=value`` and ``name: value`` are masked.
    """
    if len(text) > MAX_TEXT_LENGTH:
        return _masked_words(text[:MAX_TEXT_LENGTH])
    if _hint.search(text) is None:
        return text
    try:
        return to_json(_masked_value(msgspec.json.decode(text)))
    except (msgspec.MsgspecError, EncodeError, RecursionError, UnicodeEncodeError):
        return _masked_words(text)


def masked_query(query: str) -> str:
    """The same for a query string, as it stands in a URL."""
    return "&".join(_masked_parameter(parameter) for parameter in query.split("&"))


def _masked_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            masked(name): MASK if _secret_name.search(name) else _masked_value(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_masked_value(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value


def _masked_words(text: str) -> str:
    text = _escaped_ascii.sub(_letter, text)
    text = _pair.sub(rf"\g<name_and_sign>{MASK}", text)
    text = _bearer.sub(rf"\1 {MASK}", text)
    return _user_info.sub(MASK, _web_token.sub(MASK, text))


def _letter(escape: re.Match[str]) -> str:
    """A letter for its escape; a quote would end a string too early and stays escaped."""
    char = chr(int(escape[1], 16))
    return char if char.isalnum() or char in "_-" else escape[0]


def _masked_parameter(parameter: str) -> str:
    name, equals, value = (_unquoted(part) for part in parameter.partition("="))
    if _secret_name.search(name) or masked(value) != value:
        return f"{masked(name)}{equals}{MASK if equals else ''}"
    return parameter


def _unquoted(text: str) -> str:
    """Without its percent-encoding, nor that of a URL in it, however deep they are nested."""
    return unquote_plus(_layered_percent.sub("%", text))


def is_secret(name: str) -> bool:
    """Whether a value of this name is not for a log."""
    return _secret_name.search(name) is not None


def one_line(text: str) -> str:
    """What somebody else wrote, with control characters escaped: nobody forges a line of a log."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
