from __future__ import annotations

from io import StringIO

from benchmarks.progress import ProgressLine, progress


def test_progress_shows_how_much_is_done() -> None:
    assert progress(6, 12, 75, "now") == "████████████░░░░░░░░░░░░ 6/12  1:15  now"


def test_progress_of_nothing() -> None:
    assert progress(0, 0, 0, "").startswith("░░░")


def test_plain_lines_where_there_is_no_terminal() -> None:
    stream = StringIO()
    line = ProgressLine(2, stream)
    line.step("one")
    line.step("two")
    line.end()
    assert [text.rpartition("  ")[2] for text in stream.getvalue().splitlines()] == ["one", "two"]
