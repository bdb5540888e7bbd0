from __future__ import annotations

from benchmarks.results import Report, Result
from benchmarks.systems import echoes as echo_systems
from benchmarks.table import (
    ECHO_RIVALS,
    STOCK,
    STOCK_ON,
    Table,
    grouped,
    heading,
    remarks,
    tables,
)
from tests.benchmarks.reports import report


def table(title: str, made: Report | None = None) -> Table:
    return next(table for table in tables(made or report()) if table.title == title)


def column(table: Table, name: str) -> list[str]:
    at = list(table.headings).index(name)
    return [row[at] for row in table.rows]


def test_bursts_are_compared_with_stock_the_best_peer_and_the_limit() -> None:
    burst = table("A burst of 50 messages to 1 000 connections")
    assert column(burst, "deliveries/s") == ["100 000", "10 000", "40 000", "50 000", "200 000"]
    assert column(burst, "× stock") == ["10", "1.00", "4.00", "5.00", "20"]
    assert column(burst, "× best peer")[0] == "2.00"
    assert column(burst, "× C loop")[0] == "0.50"


def test_latencies_are_compared_the_other_way_round() -> None:
    closed = table("One message to 1 000 connections")
    assert column(closed, "p50 ms")[:2] == ["10.0", "100.0"]
    assert column(closed, "× stock")[0] == "10"
    assert column(closed, "× best peer")[0] == "2.00"
    assert column(closed, "÷ C loop")[0] == "2.00"


def test_the_time_of_client_and_publisher_is_shown() -> None:
    closed = table("One message to 5 000 connections")
    assert column(closed, "client CPU")[0] == "25 %"
    assert column(closed, "publisher CPU")[0] == "1 %"


def test_without_stock_channels_nothing_is_compared_with_it() -> None:
    made = report()
    made.results = [result for result in made.results if result.family == "wsadapter"]
    burst = table("A burst of 50 messages to 1 000 connections", made)
    assert column(burst, "× stock") == column(burst, "× C loop") == ["–"]


def with_daphne() -> Report:
    made = report()
    stock = {**made.results[0].values, "deliveries_per_second": 8_000.0}
    ours = {**made.results[0].values, "deliveries_per_second": 120_000.0}
    made.results += [
        Result(STOCK_ON["daphne"], "channels", "burst", 1000, stock),
        Result("wsadapter, daphne", "wsadapter", "burst", 1000, ours),
        Result("wsadapter, granian", "wsadapter", "burst", 1000, ours),
    ]
    return made


def test_wsadapter_is_compared_with_stock_on_its_own_server() -> None:
    burst = table("A burst of 50 messages to 1 000 connections", with_daphne())
    compared = dict(zip(column(burst, ""), column(burst, "× stock, same server"), strict=True))
    assert compared["wsadapter, uvicorn"] == "10"
    assert compared["wsadapter, daphne"] == "15"
    assert compared["wsadapter, granian"] == "–"
    assert compared[STOCK] == compared["a slow peer"] == "–"


def test_memory_is_compared_as_a_share_of_that_of_stock() -> None:
    made = report()
    made.results = [
        Result(name, family, "idle", 5000, {**OTHER_MEASURES[2][2], "kib_per_connection": kib})
        for name, family, kib in [("wsadapter, uvicorn", "wsadapter", 20), (STOCK, "channels", 40)]
    ]
    idle = table("5 000 idle connections", made)
    assert [row[2] for row in idle.rows] == ["0.50", "–"]
    assert [row[4] for row in idle.rows] == ["1.00", "–"]


def test_footnotes_are_those_of_the_systems_that_are_there() -> None:
    made = report()
    values = made.results[0].values
    assert not any("nchan" in note for note in table(BURST_TITLE, made).footnotes)
    made.results.append(Result("nginx nchan (no Redis)", "peer", "burst", 1000, values))
    assert any("nchan" in note for note in table(BURST_TITLE, made).footnotes)


BURST_TITLE = "A burst of 50 messages to 1 000 connections"


def test_footnotes_stand_below_the_rows() -> None:
    made = Table("Title", "Note", ["", "number"], [["a", "1"]], ["First.", "Second."])
    assert made.as_text().splitlines()[-2:] == ["First.", "Second."]
    assert made.as_markdown().splitlines()[-2:] == ["", "First. Second."]


def test_smaller_bursts_are_said() -> None:
    made = report()
    slow = {**made.results[0].values, "messages": 7}
    made.results.append(Result("slow", "channels", "burst", 1000, slow))
    assert table("A burst of 50 (7 at the slowest) messages to 1 000 connections", made)


def test_other_measures_have_tables_of_their_own() -> None:
    made = report()
    made.results = [
        Result("one", "peer", measure, size, values) for measure, size, values in OTHER_MEASURES
    ]
    assert [made.title for made in tables(made)] == [
        "Sends to one user from synchronous code",
        "Connecting, up to 1 000",
        "5 000 idle connections",
        "5 000 handshakes at once",
        "Order in each lane, 50 connections",
        "Compressed bursts to 1 000 connections",
        "Bursts to 1 000 connections from one and two server processes",
        "Echoes on 1 connection",
    ]


OTHER_MEASURES: list[tuple[str, int, dict[str, float]]] = [
    (
        "targeted",
        1,
        {"calls_per_second": 1, "p50_us": 1, "p99_us": 1, "redis_connections_opened": 0},
    ),
    ("connect", 1000, {"connects_per_second": 1, "client_cpu": 0.1}),
    (
        "idle",
        5000,
        {"kib_per_connection": 1, "cpu": 0.1, "redis_commands_per_connection_minute": 0},
    ),
    (
        "storm",
        5000,
        {
            "accepted": 5000,
            "seconds": 1,
            "p50_ping_ms": 1,
            "worst_ping_ms": 2,
            "client_cpu": 0.1,
        },
    ),
    ("lanes", 50, {"messages": 700, "overtaken": 100}),
    (
        "compressed",
        1000,
        {
            "deliveries_per_second": 1,
            "plain_deliveries_per_second": 1,
            "of_plain": 1,
            "bytes_per_message": 1,
            "plain_bytes_per_message": 1,
            "client_cpu": 0.1,
        },
    ),
    (
        "scale",
        1000,
        {
            "one_deliveries_per_second": 1,
            "two_deliveries_per_second": 2,
            "two_by_one": 2,
            "client_cpu": 0.1,
        },
    ),
    ("echo", 1, {"messages_per_second": 1, "server_cpu": 0.9, "client_cpu": 0.1}),
]


def echoed(**rates: float) -> Report:
    made = report()
    made.results = [
        Result(name, "any", "echo", 100, {**ECHO, "messages_per_second": rate})
        for name, rate in rates.items()
    ]
    return made


ECHO: dict[str, float] = {"server_cpu": 1.0, "client_cpu": 0.254}


def test_echoes_are_compared_with_those_on_the_same_server() -> None:
    rates = {
        "wsadapter, stream, uvicorn, prepared frames": 40_000.0,
        "wsadapter, stream, daphne": 30_000.0,
        "Channels, JSON, pydantic, uvicorn": 8_000.0,
        "Channels, JSON, unchecked, uvicorn": 10_000.0,
        "chanx, uvicorn": 4_000.0,
        "chanx, daphne": 3_000.0,
    }
    echoes = table("Echoes on 100 connections", echoed(**rates))
    assert column(echoes, "messages/s")[0] == "40 000"
    assert column(echoes, "× stock") == ["5.00", "–", "1.00", "1.25", "0.50", "–"]
    assert column(echoes, "× stock, unchecked") == ["4.00", "–", "0.80", "1.00", "0.40", "–"]
    assert column(echoes, "× chanx") == ["10", "10", "2.00", "2.50", "1.00", "1.00"]
    assert column(echoes, "client CPU")[0] == "25 %"


def test_echoes_are_compared_with_systems_that_are_there() -> None:
    names = {system.name for system in echo_systems.SYSTEMS}
    for rival in ECHO_RIVALS.values():
        assert {f"{rival}, uvicorn", f"{rival}, daphne"} <= names


def test_columns_are_aligned() -> None:
    made = Table("Title", "Note", ["", "number"], [["a", "1"], ["long name", "1 000"]])
    assert made.as_text().splitlines()[3:] == [
        "            number",
        "──────────────────",
        "a                1",
        "long name    1 000",
        "──────────────────",
    ]


def test_a_table_can_be_markdown() -> None:
    made = Table("Title", "Note.", ["", "number"], [["a", "1"]])
    lines = ["**Title.** Note.", "", "|  | number |", "| --- | ---: |", "| a | 1 |"]
    assert made.as_markdown().splitlines() == lines


def test_machine_and_versions_are_named() -> None:
    assert heading(report()) == ("2025-01-31: A processor, 2 cores, 8 GiB, Linux\npython 3.13")


def test_what_did_not_run_is_said() -> None:
    made = report()
    made.missing["C loop"] = "cc is not on the PATH."
    made.failures["daphne, burst"] = "Lost: nothing came\nits log"
    assert remarks(made).splitlines() == [
        "Not measured: C loop. cc is not on the PATH.",
        "FAILED: daphne, burst",
        "    Lost: nothing came",
        "    its log",
    ]


def test_digits_are_grouped() -> None:
    assert grouped(1234567.89, 1) == "1 234 567.9"
    assert grouped(12) == "12"
