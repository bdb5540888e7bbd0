from __future__ import annotations

from benchmarks.profile import hottest


def test_functions_are_ordered_by_the_samples_that_ended_in_them() -> None:
    stacks = "main (a.py:1);send (b.py:2) 6\nmain (a.py:1) 1\nrun (c.py:3);send (b.py:2) 3\n"
    assert hottest(stacks) == [("send (b.py:2)", 0.9), ("main (a.py:1)", 0.1)]


def test_nothing_sampled_is_nothing_hot() -> None:
    assert hottest("") == []
