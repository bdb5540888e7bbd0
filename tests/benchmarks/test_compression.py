"""What the script about compression counts, and how it shows it."""

from __future__ import annotations

import json

from benchmarks.compression import (
    LEVELS,
    LONG,
    SERVERS,
    SHORT,
    Cost,
    Costs,
    frame_size,
    orders,
    table,
)
from benchmarks.load import split_frames
from benchmarks.system import text_frame
from benchmarks.systems import SYSTEMS


def test_the_publisher_finds_the_servers_by_their_names() -> None:
    assert set(SERVERS) <= {system.name for system in SYSTEMS}


def test_a_frame_is_as_large_as_it_is_on_the_wire() -> None:
    for text in ("", "x" * 125, "x" * 126, "x" * 60_000):
        frame = text_frame(text)
        ((_, payload),), _ = split_frames(frame)
        assert frame_size(payload) == len(frame)


def test_messages_are_json_and_differ() -> None:
    for rows in (SHORT, LONG):
        texts = orders(rows)
        assert len(set(texts)) == len(texts)
        assert all(len(json.loads(text)) == rows for text in texts)


def test_each_level_stands_beside_off() -> None:
    by_level = {
        level: Costs(Cost(1000 - level, 1e-6 * (1 + level)), Cost(200, 2e-6), 40 * 1024 + level)
        for level in LEVELS
    }
    rows = table(dict.fromkeys(SERVERS, by_level)).rows
    assert len(rows) == len(SERVERS) * len(LEVELS)
    assert rows[0][1:] == ["1000", "1.0", "1.0", "200", "2.0", "1.0", "40"]
    assert rows[3][0].endswith("level 9") and rows[3][1:4] == ["991", "10.0", "10.0"]
