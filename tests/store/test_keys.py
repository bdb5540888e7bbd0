"""Keys are spelled in one place, and what is in lua/ is used."""

from __future__ import annotations

import re
from pathlib import Path

from wsadapter.store import keys, redis
from wsadapter.store.keys import Keys

PACKAGE = Path(redis.__file__).parent.parent
SCRIPTS = sorted((PACKAGE / "store" / "lua").glob("*.lua"))
OPERATIONS = [path for path in SCRIPTS if path.stem != "prelude"]

KEYS = Keys("{p}")
EVERY_KEY = [
    *KEYS.for_scripts()[:4],
    KEYS.node("<lease>"),
    KEYS.user("<user>"),
    KEYS.client("<id>"),
    KEYS.group("<group>"),
    KEYS.group_counts("<…>"),
    KEYS.members("<lease>"),
    KEYS.leaving,
    KEYS.arriving,
    KEYS.reaped,
    KEYS.forgotten,
    KEYS.sequence("<group>"),
]


def test_every_key_is_documented() -> None:
    documented = re.findall(r"^\| ``(\S+)``", keys.__doc__ or "", re.MULTILINE)
    assert documented == EVERY_KEY
    assert len(documented) == len(KEYS.for_scripts())


def test_no_other_file_spells_a_key() -> None:
    names = {re.sub(r"<.*", "", key.removeprefix("{p}")) for key in EVERY_KEY}
    spelled = re.compile("|".join(rf"\}}?{re.escape(name)}\b" for name in sorted(names)))
    sources = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.lua")]
    spelling = {path.name for path in sources if spelled.search(path.read_text())}
    assert spelling == {"keys.py"}


def test_the_scripts_take_the_keys_in_this_order() -> None:
    prelude = (PACKAGE / "store" / "lua" / "prelude.lua").read_text()
    listed = re.findall(r"^-- +(\d+)  (\w+) ", prelude, re.MULTILINE)
    unpacked = re.search(r"^local (.+?) =\s+unpack\(KEYS\)$", prelude, re.MULTILINE | re.DOTALL)
    assert unpacked is not None
    names = re.split(r",\s+", unpacked[1])
    assert [name for _, name in listed] == names
    assert [int(number) for number, _ in listed] == list(range(1, len(names) + 1))
    spelled = [key.removeprefix("{p}:") for key in KEYS.for_scripts()]
    assert names == [re.sub(":$", "_stem", key).replace("-", "_") for key in spelled]


def test_every_key_of_a_prefix_is_in_one_slot() -> None:
    assert all(key.startswith("{shop}:") for key in Keys("{shop}").for_scripts())


def test_every_script_is_called() -> None:
    called = set(re.findall(r'Call\(\s*"(\w+)"', Path(redis.__file__).read_text()))
    assert called == {path.stem for path in OPERATIONS}


def test_every_script_names_its_arguments() -> None:
    for path in OPERATIONS:
        head, _, body = path.read_text().partition("\n\n")
        assert "-- KEYS as in prelude.lua; " in head, path.name
        named = re.findall(r"(?:-- ARGV|  ) ?(\d)…? ", head)
        assert set(re.findall(r"ARGV\[(\d)\]", body)) <= set(named), path.name


def test_no_script_looks_at_all_keys() -> None:
    for path in SCRIPTS:
        assert not re.search(r'"(KEYS|SMEMBERS|SCAN)"', path.read_text()), path.name
