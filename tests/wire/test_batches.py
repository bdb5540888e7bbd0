"""Messages leave together, in order and in time, and whoever gets them can take them apart."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, NoReturn

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsadapter.wire.batches import MAX_DELAY_SECONDS, Batch, Collector, as_item
from wsadapter.wire.payload import to_json


def unpacked(frame: str) -> list[Any]:
    """The messages of a batch, as a client has them."""
    return strict_json(frame)["messages"]  # type: ignore[no-any-return]


def strict_json(text: str) -> Any:
    """What the text says, as `JSON.parse` reads it.

    Raises:
        ValueError: it is no JSON; nor are NaN and Infinity, which Python takes.
    """
    return json.loads(text, parse_constant=refuse)


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def meant(text: str) -> Any:
    """What a text frame stands for in a batch: its JSON, or itself."""
    try:
        value = strict_json(text)
        json.dumps(value, ensure_ascii=False).encode()  # fails for half a pair of surrogates
    except ValueError:
        return text
    return value


def collector(**options: Any) -> Collector:
    return Collector(Batch(**options))


# When it may be asked to leave


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert Batch() == Batch(max_items=100, max_bytes=65_536, max_delay=0.05)


def test_a_batch_is_a_value() -> None:
    assert hash(Batch(3)) == hash(Batch(max_items=3))
    with pytest.raises(AttributeError):
        Batch().max_items = 7  # type: ignore[misc]


@pytest.mark.parametrize("name", ["max_items", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, math.inf, -math.inf])
def test_a_bound_that_collects_nothing_is_refused(name: str, value: float) -> None:
    sentence = rf"^Batch\({name}={value}\) collects nothing; give a whole number from 1\.$"
    with pytest.raises(ValueError, match=sentence):
        Batch(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -0.05, math.nan, math.inf, -math.inf, 60.1])
def test_a_delay_that_is_no_time_is_refused(seconds: float) -> None:
    sentence = rf"^Batch\(max_delay={seconds}\) is no time to wait; give seconds above 0, and at "
    with pytest.raises(ValueError, match=sentence):
        Batch(max_delay=seconds)


def test_the_longest_delay_may_be_had() -> None:
    assert Batch(max_delay=MAX_DELAY_SECONDS).max_delay == 60


# Collecting


def test_nothing_is_in_it_at_first() -> None:
    box = collector(max_items=1, max_bytes=1)
    assert len(box) == 0
    assert not box.full
    assert box.has_room("1234567890"), "whatever its size, one fits into nothing"


def test_the_last_of_so_many_items_fills_it() -> None:
    box = collector(max_items=3)
    for number in range(3):
        assert not box.full and box.has_room("{}")
        box.add("{}", now=number)
    assert len(box) == 3
    assert box.full and not box.has_room("")


def test_bytes_are_counted_with_the_commas_between_the_items() -> None:
    box = collector(max_bytes=10)
    box.add("1234", now=0)
    assert box.has_room("12345")  # 4 + 1 + 5
    assert not box.has_room("123456")
    box.add("12345", now=0)
    assert box.full


def test_a_batch_of_just_the_bound_is_full_and_one_below_it_is_not() -> None:
    box = collector(max_bytes=10)
    box.add("123456789", now=0)
    assert not box.full, "there is a byte, though no item fits into it"
    assert not box.has_room("1")
    box = collector(max_bytes=10)
    box.add("1234567890", now=0)
    assert box.full


def test_text_counts_as_utf8() -> None:
    box = collector(max_bytes=10)
    box.add('"éé"', now=0)  # 6 bytes
    assert box.has_room("123")
    assert not box.has_room('"é"')
    box.add("123", now=0)
    assert box.full


def test_a_large_item_fills_it_alone() -> None:
    box = collector(max_bytes=10)
    box.add("1" * 100, now=0)
    assert box.full and not box.has_room("1")


def test_it_is_due_by_its_first_item() -> None:
    box = collector(max_delay=0.5)
    box.add("1", now=100)
    box.add("2", now=100.4)
    assert box.due == 100.5
    box.take(1, 0)
    box.add("3", now=200)
    assert box.due == 200.5, "what has left is forgotten"


# Leaving


def test_a_batch_is_one_message() -> None:
    box = collector()
    box.add('{"type":"a","n":1}', now=0)
    box.add(as_item("no JSON"), now=0)
    frame = box.take(id=7, sent_at=1_763_762_000_123)
    assert frame == (
        '{"type":"ws:batch","id":7,"sent_at":1763762000123,"size":2,'
        '"messages":[{"type":"a","n":1},"no JSON"]}'
    )


def test_it_is_empty_when_they_have_left() -> None:
    box = collector(max_items=2, max_bytes=5)
    box.add("1", now=0)
    box.add("2", now=0)
    box.take(1, 0)
    assert len(box) == 0 and not box.full
    box.add("345", now=0)
    assert box.has_room("6") and not box.has_room("67"), "the bytes are counted anew"
    assert unpacked(box.take(2, 0)) == [345]


# What stands in a batch


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"type":"chat.say","text":"hi"}',
        '[1,2,{"a":null}]',
        "null",
        "true",
        "-0.5e-3",
        '"a string"',
        '"\\u00e9 \\ud83d\\ude00"',
        ' {"a" :\t1}\r\n',
        '{"a":1,"a":2}',
        '"\x7f"',
        '"\u2028"',
    ],
)
def test_json_stands_in_it_as_it_is(text: str) -> None:
    assert as_item(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "NaN",
        "Infinity",
        "-",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "1 2",
        "1,2",
        "]",
        "true x",
        "tru",
        "'a'",
        '{"a":1,}',
        "{a:1}",
        "[1",
        '"open',
        '"a line\nbreak"',
        '"a \x00 control character"',
        '"\\x"',
        '"\\u12"',
        '"half a pair \\ud800"',
        "\ufeff{}",
        "\x0b1",
        '],"size":3,"messages":[1',
    ],
)
def test_text_that_is_no_json_is_a_string(text: str) -> None:
    assert strict_json(as_item(text)) == text


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_text_that_is_nested_too_deeply_to_be_read_is_a_string(opening: str, depth: int) -> None:
    text = opening * depth
    assert strict_json(as_item(text)) == text


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_json_that_is_nested_too_deeply_leaves_the_others_readable(depth: int) -> None:
    box = collector(max_bytes=10**6)
    for text in ('{"a":1}', "[" * depth + "]" * depth, '{"b":2}'):
        box.add(as_item(text), now=0)
    assert unpacked(box.take(1, 0)) == [{"a": 1}, "[" * depth + "]" * depth, {"b": 2}]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-1e9, 1e9),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
json_texts = st.builds(
    json.dumps,
    json_values,
    ensure_ascii=st.booleans(),
    indent=st.none() | st.integers(0, 3),
)
#: JSON from which something is missing, or into which something has come.
spoilt_json = st.builds(
    lambda text, at, junk, length: text[:at] + junk + text[at + length :],
    json_texts,
    st.integers(0, 20),
    st.text(max_size=2) | st.sampled_from(list('"\\{}[],:\n\x00')),
    st.integers(0, 5),
)
texts = st.text() | json_texts | spoilt_json


@given(texts)
def test_any_text_is_what_it_was_on_the_other_side(text: str) -> None:
    item = as_item(text)
    assert strict_json(item) == meant(text)
    assert item == text or isinstance(strict_json(item), str), "JSON is not written anew"


# Any sequence of puts

#: However busy the machine is.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Sent(NamedTuple):
    """A batch that left."""

    frame: str
    at: float
    first_put_at: float


class Owner:
    """Keeps to the rules: asks for room, sends what is full, and what is due."""

    def __init__(self, batch: Batch) -> None:
        self.collector = Collector(batch)
        self.sent: list[Sent] = []
        self.first_put_at = 0.0

    def wait_until(self, now: float) -> None:
        if len(self.collector) and self.collector.due <= now:
            self.flush(self.collector.due)

    def put(self, text: str, now: float) -> None:
        item = as_item(text)
        if not self.collector.has_room(item):
            self.flush(now)
        if not len(self.collector):
            self.first_put_at = now
        self.collector.add(item, now)
        if self.collector.full:
            self.flush(now)

    def flush(self, now: float) -> None:
        frame = self.collector.take(len(self.sent) + 1, int(now * 1000))
        self.sent.append(Sent(frame, now, self.first_put_at))


batches = st.builds(
    Batch,
    max_items=st.integers(1, 8),
    max_bytes=st.integers(1, 120),
    max_delay=st.floats(0.001, 60),
)


@unhurried
@given(batches, st.lists(st.tuples(texts, st.floats(-1e6, 1e6)), max_size=40))
def test_with_any_clock_nothing_is_lost_and_order_is_kept(
    batch: Batch, puts: list[tuple[str, float]]
) -> None:
    owner = Owner(batch)
    for text, now in puts:
        owner.wait_until(now)
        owner.put(text, now)
    owner.wait_until(math.inf)
    arrived = [message for sent in owner.sent for message in unpacked(sent.frame)]
    assert arrived == [meant(text) for text, _ in puts]


@unhurried
@given(batches, st.lists(st.tuples(texts, st.floats(0, 1)), max_size=40))
def test_a_batch_keeps_its_bounds(batch: Batch, puts: list[tuple[str, float]]) -> None:
    owner = Owner(batch)
    now = 0.0
    for text, pause in puts:
        now += pause
        owner.wait_until(now)
        owner.put(text, now)
        assert not owner.collector.full, "what is full has left"
    owner.wait_until(math.inf)
    for number, sent in enumerate(owner.sent, start=1):
        head = strict_json(sent.frame)
        items = raw_messages(sent.frame)
        assert list(head) == ["type", "id", "sent_at", "size", "messages"]
        assert (head["type"], head["id"], head["size"]) == ("ws:batch", number, len(items))
        assert 1 <= len(items) <= batch.max_items
        assert len(items) == 1 or len(",".join(items).encode()) <= batch.max_bytes
        assert sent.at <= sent.first_put_at + batch.max_delay


@unhurried
@given(batches, st.lists(texts, min_size=2, max_size=20))
def test_a_batch_leaves_no_earlier_than_it_must(batch: Batch, puts: list[str]) -> None:
    owner = Owner(batch)
    for text in puts:
        owner.put(text, now=0)
    for sent, following in zip(owner.sent, owner.sent[1:], strict=False):
        items, next_item = raw_messages(sent.frame), raw_messages(following.frame)[0]
        larger = len(",".join([*items, next_item]).encode())
        assert len(items) == batch.max_items or larger > batch.max_bytes


@given(batches, st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_no_later_put_moves_the_time_when_it_is_due(batch: Batch, times: list[float]) -> None:
    box = Collector(batch)
    for now in times:
        box.add("1", now)
        assert box.due == times[0] + batch.max_delay


def raw_messages(frame: str) -> list[str]:
    """The messages as they stand in the frame."""
    raw = msgspec.json.decode(frame, type=dict[str, msgspec.Raw])["messages"]
    return [bytes(message).decode() for message in msgspec.json.decode(raw, type=list[msgspec.Raw])]


def test_an_object_that_was_encoded_stands_in_it_unchanged() -> None:
    text = to_json({"type": "a", "π": [1.5, None, "é"]})
    assert as_item(text) is text
