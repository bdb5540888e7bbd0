"""One page of connections: found with a bounded number of questions, whatever there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from tests.connections import LEASE, a_connection, record
from tests.redis_server import RedisServer
from tests.sites import MEMORY, REDIS, site
from wsadapter import conf
from wsadapter.listing import (
    MOST_SCANS,
    MOST_USERS,
    PAGE_ROWS,
    SCAN_SIZE,
    By,
    Listing,
    Query,
    find,
    names_of,
    nodes,
    scan_places,
)
from wsadapter.store.operations import OnlineClients

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True, params=[MEMORY, REDIS])
def each_store(request: pytest.FixtureRequest, redis_server: RedisServer, settings: Any) -> None:
    for setting, value in site(request.param, [redis_server.url]).items():
        setattr(settings, setting, value)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the store is asked."""
    asked: list[Any] = []
    store = conf.store()
    run: Callable[[Any], Any] = store.run
    monkeypatch.setattr(store, "run", lambda op: (asked.append(op), run(op))[1])
    return asked


def make_user(name: str) -> Any:
    return get_user_model().objects.create(username=name)


def ids(listing: Listing) -> list[str]:
    return [row.client_id for row in listing.rows]


def pages(query: Query) -> Iterator[Listing]:
    while True:
        listing = find(query)
        yield listing
        if not listing.next:
            return
        query = replace(query, cursor=listing.next)


def test_every_connection_is_on_one_page() -> None:
    record(a_connection(f"c{n:03}", n % 7 or None) for n in range(120))
    found = list(pages(Query()))
    assert [len(page.rows) for page in found] == [PAGE_ROWS, PAGE_ROWS, 20]
    assert sorted(id for page in found for id in ids(page)) == [f"c{n:03}" for n in range(120)]


def test_a_row_says_what_is_recorded() -> None:
    ada = make_user("ada")
    record([a_connection("c1", ada.pk, path="/ws/shop/", address=None)])
    (row,) = find(Query()).rows
    assert (row.client_id, row.user_id, row.user) == ("c1", str(ada.pk), "ada")
    assert (row.path, row.address, row.process) == ("/ws/shop/", "", "web-1:4711")
    assert row.connected.timestamp() == pytest.approx(row.connected_at)


def test_the_processes_are_those_with_a_lease() -> None:
    record([a_connection("c1"), a_connection("c2"), a_connection("c3", lease="web-2:12:token")])
    first, second = nodes()
    assert (first.host, first.pid, first.connections, first.lease) == ("web-1", 4711, 2, LEASE)
    assert (second.host, second.pid, second.connections) == ("web-2", 12, 1)
    assert first.ends_in_seconds > 0


def test_a_client_is_found_by_its_whole_id() -> None:
    record([a_connection("c1"), a_connection("c11")])
    assert ids(find(Query("c1", By.CLIENT))) == ["c1"]
    assert ids(find(Query("c", By.CLIENT))) == []


def test_a_user_is_found_by_key_and_by_a_part_of_the_name() -> None:
    ada, adam = make_user("ada"), make_user("Adam")
    record([a_connection("c1", ada.pk), a_connection("c2", adam.pk), a_connection("c3", "token-9")])
    assert ids(find(Query(str(ada.pk), By.USER))) == ["c1"]
    assert sorted(ids(find(Query("ADA", By.USER)))) == ["c1", "c2"]
    assert ids(find(Query("token-9", By.USER))) == ["c3"], "not in the database"
    assert ids(find(Query("grace", By.USER))) == []


def test_pages_go_from_one_user_to_the_next() -> None:
    ada, adam = make_user("ada"), make_user("adam")
    record(a_connection(f"a{n:03}", ada.pk) for n in range(60))
    record(a_connection(f"b{n:03}", adam.pk) for n in range(60))
    found = list(pages(Query("ada", By.USER)))
    assert [len(page.rows) for page in found] == [PAGE_ROWS, PAGE_ROWS, 20]
    assert len({id for page in found for id in ids(page)}) == 120


def test_of_many_users_the_first_are_looked_for(questions: list[Any]) -> None:
    for n in range(MOST_USERS + 10):
        make_user(f"user{n:03}")
    listing = find(Query("user", By.USER))
    assert f"only the first {MOST_USERS}" in listing.note
    assert len(questions) == MOST_USERS


def test_a_place_is_an_address_or_a_path() -> None:
    record([a_connection("c1", path="/ws/Shop/"), a_connection("c2", address="198.51.100.7")])
    assert ids(find(Query("shop", By.PLACE))) == ["c1"]
    assert ids(find(Query("198.51.", By.PLACE))) == ["c2"]


def test_a_place_is_looked_for_on_page_after_page() -> None:
    total = MOST_SCANS * SCAN_SIZE + 300
    record(
        a_connection(f"c{n:05}", path="/ws/rare/" if n >= total - 80 else "/ws/")
        for n in range(total)
    )
    found = list(pages(Query("rare", By.PLACE)))
    assert [len(page.rows) for page in found] == [0, PAGE_ROWS, 30]
    assert "the next page looks on" in found[0].note
    assert "the next page" not in found[-1].note
    assert [id for page in found for id in ids(page)] == [
        f"c{n:05}" for n in range(total - 80, total)
    ]


# Whatever the text may be


def test_a_text_is_an_id_before_it_is_a_user_and_a_user_before_it_is_a_place() -> None:
    ada = make_user("ada")
    record(
        [
            a_connection("ada"),
            a_connection("c1", ada.pk),
            a_connection("c2", "token-9"),
            a_connection("c3", path="/ws/adapter/"),
            a_connection("c4", path="/ws/adam/", address="198.51.100.7"),
        ]
    )
    found = {text: ids(find(Query(text))) for text in ("ada", "AD", "token-9", "adam", "198.51.")}
    assert found == {
        "ada": ["ada"],
        "AD": ["c1"],
        "token-9": ["c2"],
        "adam": ["c4"],
        "198.51.": ["c4"],
    }


def test_who_is_not_online_hides_no_place() -> None:
    make_user("shopkeeper")
    record([a_connection("c1", path="/ws/shop/")])
    assert ids(find(Query("shop"))) == ["c1"]


def test_it_says_what_was_searched() -> None:
    record([a_connection("c1", "token-9", path="/ws/shop/")])
    for text, note in (
        ("c1", "This is a client id."),
        ("token-9", "these are connections of users"),
        ("shop", "looked for in addresses and paths"),
        ("nowhere", "looked for in addresses and paths"),
    ):
        assert note in find(Query(text)).note
    for by in (By.CLIENT, By.USER):
        assert not find(Query("c1", by)).note, "the page shows what was chosen"


def test_the_next_pages_are_of_the_same_search() -> None:
    ada, adam = make_user("ada"), make_user("adam")
    record(a_connection(f"a{n:03}", ada.pk) for n in range(60))
    record(a_connection(f"b{n:03}", adam.pk) for n in range(60))
    record(a_connection(f"c{n:03}", path="/ws/adapter/") for n in range(60))
    of_users, in_places = list(pages(Query("ada"))), list(pages(Query("adapter")))
    assert [len(page.rows) for page in of_users] == [PAGE_ROWS, PAGE_ROWS, 20]
    assert len({id for page in of_users for id in ids(page)}) == 120
    assert all("connections of users" in page.note for page in of_users)
    assert [len(page.rows) for page in in_places] == [PAGE_ROWS, 10]
    assert all("addresses and paths" in page.note for page in in_places)


def test_that_many_users_match_is_said_of_places_too() -> None:
    for n in range(MOST_USERS + 10):
        make_user(f"shop{n:03}")
    record([a_connection("c1", path="/ws/shop/")])
    listing = find(Query("shop"))
    assert ids(listing) == ["c1"]
    assert f"only the first {MOST_USERS}" in listing.note


def test_a_scan_can_be_remembered() -> None:
    make_user("shopkeeper")
    record([a_connection("c1", path="/ws/shop/")])
    scan = cache(scan_places)
    assert ids(find(Query("shop"), scan)) == ["c1"]
    record([a_connection("c2", path="/ws/shop/")])
    assert ids(find(Query("shop"), scan)) == ids(find(Query("shop", By.PLACE), scan)) == ["c1"]
    assert ids(find(Query("shop"))) == ["c1", "c2"]
    record([a_connection("c3", "shop")])
    assert ids(find(Query("shop"), scan)) == ["c3"]


# What it costs


@pytest.mark.parametrize(
    ("query", "most"),
    [
        (Query(), 1),
        (Query("c00001"), 1),
        (Query("7"), 2),
        (Query("nowhere"), 1 + 1 + MOST_SCANS),
        (Query("/ws/"), 1 + 1 + MOST_SCANS + 1),
        (Query("c00001", By.CLIENT), 1),
        (Query("1", By.USER), 1),
        (Query("nowhere", By.PLACE), MOST_SCANS),
        (Query("/ws/", By.PLACE), MOST_SCANS + 1),
    ],
    ids=[
        *("all", "any: client", "any: user", "any: none", "any: every place"),
        *("client", "user", "no place", "every place"),
    ],
)
def test_the_questions_do_not_grow_with_the_connections(
    query: Query, most: int, questions: list[Any], django_assert_max_num_queries: Any
) -> None:
    record(a_connection(f"c{n:05}", n % 900) for n in range(3000))
    questions.clear()
    with django_assert_max_num_queries(2):
        listing = find(query)
    assert len(listing.rows) <= PAGE_ROWS
    assert len(questions) <= most
    assert all(each.limit <= SCAN_SIZE for each in questions if isinstance(each, OnlineClients))


def test_many_users_who_are_not_online_are_asked_for_before_places(questions: list[Any]) -> None:
    for n in range(MOST_USERS + 10):
        make_user(f"user{n:03}")
    find(Query("user"))
    assert len(questions) <= 1 + MOST_USERS + MOST_SCANS + 1


@pytest.mark.parametrize(
    "cursor",
    [
        *("junk", "7", "-1", "0.junk", "99999999999999999999", "é"),
        *("any:", "any:7", "junk:", "client:junk", "user:junk", "user:7", "place:junk", ":"),
    ],
)
@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("text", ["", "1"])
def test_a_cursor_that_somebody_made_up_breaks_nothing(text: str, by: By, cursor: str) -> None:
    record([a_connection("c1", 1)])
    find(Query(text, by, cursor))


@pytest.mark.parametrize(
    "user_id", ["", "token-9", "9" * 40, "-1", "\0", "1\0", "é", None], ids=ascii
)
def test_an_id_that_is_no_key_has_no_name(user_id: str | None) -> None:
    ada = make_user("ada")
    assert names_of([user_id, str(ada.pk)]) == {str(ada.pk): "ada"}


def test_a_query_is_read_from_the_parameters_of_a_url() -> None:
    given = {"q": "  ada\0 ", "by": "place", "cursor": "ff"}
    assert Query.of(given) == Query("ada", By.PLACE, "ff")
    assert Query.of(given).fields == {"q": "ada", "by": "place", "cursor": "ff"}
    assert Query.of({"by": "nonsense"}) == Query()
    assert Query.of({"by": ["list"], "q": 7, "cursor": None}) == Query("7")
    assert Query.of({"q": "ada"}).by is By.ANY
    assert Query().fields == {}
