"""The page of errors has every error, close code and error code there is, and no other."""

from __future__ import annotations

import re

import pytest

from tests.markdown import DOCS
from tests.test_docs import codes_in, first_codes
from tests.test_errors import CLASSES
from wsadapter import client, errors
from wsadapter.close_codes import NORMAL_CODES, CloseCode, should_reconnect
from wsadapter.wire.failures import ErrorCode

PAGE = DOCS["errors"]

ERRORS = PAGE.table("error")
CLIENT_ERRORS = PAGE.table("error of the client")
CLOSE_CODES = PAGE.table("code", "Close codes")
ERROR_CODES = PAGE.table("code", "`ws:error` messages")

#: What servers and browsers close with, beside the codes that wsadapter has a name for.
STANDARD_CODES = {1000, 1001, 1005, 1006, 1009, 1011, 1012}

#: Defined, and kept for what is still to come.
RESERVED = {3005, 3010, 3504, 3507}


def code_of(row: list[str]) -> int:
    return int(codes_in(row[0])[0])


def test_every_error_is_told_of_in_the_order_of_its_module() -> None:
    assert first_codes(ERRORS) == [name for name in vars(errors) if name in CLASSES]


def test_every_error_of_the_client_is_told_of() -> None:
    own = [name for name in client.__all__ if issubclass_of_errors(getattr(client, name))]
    assert sorted(first_codes(CLIENT_ERRORS)) == sorted(own)


def issubclass_of_errors(member: object) -> bool:
    return isinstance(member, type) and issubclass(member, Exception)


def test_every_close_code_is_told_of_in_order() -> None:
    assert [code_of(row) for row in CLOSE_CODES] == sorted(STANDARD_CODES | set(CloseCode))


@pytest.mark.parametrize("row", CLOSE_CODES, ids=lambda row: codes_in(row[0])[0])
def test_a_close_code_has_its_name_and_tells_whether_to_come_back(row: list[str]) -> None:
    code = code_of(row)
    names = codes_in(row[1])
    assert names == [name for name, member in CloseCode.__members__.items() if member == code]
    assert row[3] == ("yes" if should_reconnect(code) else "no")


def test_the_codes_that_are_reserved() -> None:
    told = {code_of(row) for row in CLOSE_CODES if row[2].startswith("reserved, not sent yet: ")}
    assert told == RESERVED


def test_every_error_code_is_told_of() -> None:
    assert first_codes(ERROR_CODES) == list(ErrorCode)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(ERRORS, 4), (CLOSE_CODES, 5), (ERROR_CODES, 3)],
    ids=["errors", "close codes", "error codes"],
)
def test_no_cell_is_left_empty(rows: list[list[str]], columns: int) -> None:
    assert {len(row) for row in rows} == {columns}
    assert all(cell for row in rows for cell in row)


def test_the_normal_ends_are_those_that_are_not_logged() -> None:
    (sentence,) = re.findall(r"Normal are ([\d, and]+)\.", PAGE.text)
    assert {int(code) for code in re.findall(r"\d+", sentence)} == NORMAL_CODES
