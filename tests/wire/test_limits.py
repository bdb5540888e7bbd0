"""The size of a message is what it takes on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.limits import exceeds


@given(st.text(st.characters(exclude_categories=[])), st.integers(0, 100))
def test_text_counts_as_utf8(text: str, max_bytes: int) -> None:
    assert exceeds(text, max_bytes) == (len(text.encode("utf-8", "surrogatepass")) > max_bytes)


@given(st.binary(), st.integers(0, 100))
def test_bytes_count_as_they_are(data: bytes, max_bytes: int) -> None:
    assert exceeds(data, max_bytes) == (len(data) > max_bytes)


@pytest.mark.parametrize(
    ("frame", "size"), [("a" * 10, 10), ("é" * 5, 10), ("😀" * 3, 12), (b"\xff" * 10, 10), ("", 0)]
)
def test_a_frame_may_have_just_the_bound(frame: str | bytes, size: int) -> None:
    assert not exceeds(frame, size)
    assert exceeds(frame, size - 1)
