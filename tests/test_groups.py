"""Any text names a group; what comes out is a name that every channel layer takes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from hypothesis import example, given
from hypothesis import strategies as st

from wsadapter.groups import (
    EVERYONE,
    SILENT,
    Group,
    client_group,
    digest,
    layer_name,
    silent_group,
    user_group,
    user_id,
)

any_text = st.text(st.characters(exclude_categories=[]))
# What people would try in order to reach a group that is not theirs.
close_to_ours = st.sampled_from(["", "wsadapter.", "wsadapter.user.", "wsadapter.text."]).flatmap(
    lambda start: any_text.map(lambda rest: start + rest)
)
texts = any_text | close_to_ours
layer: BaseChannelLayer = InMemoryChannelLayer()

TEXTS = [
    "news",
    "",
    " ",
    "ann@example.org",
    str(uuid.UUID(int=1)),
    "x" * 40,
    "x" * 41,
    "x" * 80,
    "x" * 300,
    "Комната",
    "😀",
    "a/b c\n\0",
    "\ud800",
    "wsadapter.everyone",
    "wsadapter.user.1",
]


def names_of(text: str) -> tuple[str, ...]:
    """All that a text can name."""
    return layer_name(text), user_group(text), silent_group(text), client_group(text)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_is_a_group_a_user_id_and_a_client_id(text: str) -> None:
    for name in names_of(text):
        assert layer.require_valid_group_name(name)
        assert len(name) <= 80, "a layer may put a prefix of its own before it"


@given(texts)
def test_every_name_is_valid_in_a_layer(text: str) -> None:
    for name in names_of(text):
        assert layer.require_valid_group_name(name)
        assert len(name) <= 80, "a layer may put a prefix of its own before it"


@given(st.lists(texts, unique=True, max_size=20))
def test_no_two_texts_share_a_name(texts: list[str]) -> None:
    names = [name for text in texts for name in names_of(text)]
    assert len({*names, EVERYONE, SILENT}) == 4 * len(texts) + 2


@given(texts)
def test_no_text_is_mistaken_for_the_digest_of_another(text: str) -> None:
    group = user_group(f"{text} ")
    assert group not in {user_group(digest(f"{text} ")), user_group(f"hash.{digest(f'{text} ')}")}


@given(texts, texts)
@example("1", "wsadapter.user.1")
@example("everyone", "wsadapter.everyone")
@example("1", "wsadapter.silent-user.1")
@example("1", "silent")
@example("silent", "wsadapter.silent")
def test_no_group_that_a_browser_names_is_one_of_ours(id: str, room: str) -> None:
    ours = {EVERYONE, SILENT, user_group(id), silent_group(id), client_group(id)}
    assert layer_name(room) not in ours


@given(texts)
def test_the_name_of_a_name_of_ours_is_another_one(text: str) -> None:
    """Who learns a layer name and joins it as a text does not get into the group."""
    for group in (user_group(text), silent_group(text)):
        assert layer_name(str.__str__(group)) != group


@given(texts)
def test_a_group_of_ours_passes_as_it_is(text: str) -> None:
    for group in (EVERYONE, SILENT, user_group(text), silent_group(text), client_group(text)):
        assert isinstance(group, Group)
        assert layer_name(group) == group


@pytest.mark.parametrize("name", ["news", "room-1", "a.b_c", "x" * 80])
def test_plain_names_are_those_of_plain_channels_code(name: str) -> None:
    assert layer_name(name) == name


@pytest.mark.parametrize(
    "text", [EVERYONE, SILENT, user_group(1), mark_safe("news"), mark_safe("a b")]
)
def test_a_name_is_a_plain_str(text: str) -> None:
    assert type(layer_name(text)) is str


def test_digits_of_other_scripts_are_hashed() -> None:
    assert layer_name("room-٣") != "room-٣"


USERS = [
    (User(pk=7), "7"),
    (7, "7"),
    ("7", "7"),
    (SimpleLazyObject(lambda: User(pk=7)), "7"),
    (uuid.UUID(int=7), str(uuid.UUID(int=7))),
    (0, "0"),
    ("ann@example.org", "ann@example.org"),
]


@pytest.mark.parametrize(("user", "id"), USERS, ids=lambda value: type(value).__name__)
def test_a_user_is_an_instance_or_a_primary_key(user: Any, id: str) -> None:
    assert user_id(user) == id
    assert user_group(user) == user_group(id)
    assert silent_group(user) == silent_group(id)


@pytest.mark.parametrize("user", [AnonymousUser(), User(), None, True, False])
def test_who_has_no_primary_key_is_refused_with_advice(user: Any) -> None:
    with pytest.raises(ValueError, match=r"has no primary key\. .*send_to_client\(\)"):
        user_id(user)
    for group_of in (user_group, silent_group):
        with pytest.raises(ValueError, match="has no primary key"):
            group_of(user)


@given(any_text)
def test_a_digest_is_short_and_always_the_same(text: str) -> None:
    assert len(digest(text)) == 40
    assert digest(text) == digest(text)
