"""The code on the page is the code that runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from html import unescape
from typing import Any

import pytest

from demo_project.excerpt import Excerpt


def shout(function: Callable[..., str]) -> Callable[..., str]:
    return wraps(function)(lambda *arguments: function(*arguments))


@shout
def compare(left: int, right: int) -> str:
    if left < right:  # "less" & nothing else
        return f"{left} < {right}"
    return "multi\nline"


def test_it_begins_at_the_def_of_the_innermost_function() -> None:
    source = inspect.getsource(inspect.unwrap(compare))
    assert Excerpt(compare).text == source.removeprefix("@shout\n").rstrip()


def test_it_names_the_line_of_the_def() -> None:
    line = inspect.unwrap(compare).__code__.co_firstlineno + 1  # after its one decorator
    assert Excerpt(compare).place == f"test_excerpt.py:{line}"


def test_colouring_changes_no_character() -> None:
    excerpt = Excerpt(compare)
    assert unescape(re.sub(r"<[^>]*>", "", excerpt.html)) == excerpt.text


def test_markup_in_the_code_is_escaped() -> None:
    html = Excerpt(compare).html
    assert "left &lt; right" in html
    assert '<span class="keyword">def</span>' in html


@pytest.mark.parametrize("function", [test_markup_in_the_code_is_escaped, pytest.fixture])
def test_any_function_can_be_shown(function: Callable[..., Any]) -> None:
    assert Excerpt(function).html
