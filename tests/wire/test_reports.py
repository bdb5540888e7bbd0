"""Reports as a browser reads them."""

from __future__ import annotations

import json

from wsadapter.wire.reports import Report, reports_frame


def test_several_reports_are_one_frame() -> None:
    reports = [Report("a", 1.5, None, 0, 0), Report("b", 0.0, 0.25, 4096, 3)]
    assert json.loads(reports_frame(reports)) == {
        "type": "reports",
        "reports": [
            {
                "client": "a",
                "silence_seconds": 1.5,
                "round_trip_seconds": None,
                "queued_bytes": 0,
                "dropped": 0,
            },
            {
                "client": "b",
                "silence_seconds": 0.0,
                "round_trip_seconds": 0.25,
                "queued_bytes": 4096,
                "dropped": 3,
            },
        ],
    }
