"""`wsadapter_doctor`: what it finds, on a Redis and with settings that are wrong in each way."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from tests.commands.conftest import Ran, Record, run
from tests.dependencies import redis_executable
from tests.processes import Process, free_port
from tests.redis_server import RedisServer
from tests.sites import CORE, MEMORY, PUBSUB, REDIS, STOCK_MEMORY, site
from tests.waiting import eventually
from wsadapter import abroadcast, asend_to_group, conf
from wsadapter.consumers import AdapterConsumer
from wsadapter.doctor import Finding, Verdict, examine, in_process
from wsadapter.doctor.redis_server import (
    buffer_limit,
    clock,
    examine_redis,
    latency,
    memory,
    version,
)

FINE, WARNING, ERROR = Verdict

#: In their order, where all is well.
SUBJECTS = [
    "settings",
    "channel layer",
    "Redis",
    "role",
    "memory policy",
    "memory",
    "persistence",
    "latency",
    "pub/sub buffer",
    "clock",
    "scripts",
    "connection",
    "presence",
    "delivery",
    "departure",
]

DEFAULTS = {
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "client-output-buffer-limit": "pubsub 33554432 8388608 60",
    "requirepass": "",
    "save": "",
}


@pytest.fixture(scope="module")
def patient_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("patient")) as server:
        yield server


@pytest.fixture
def patient(patient_server: RedisServer) -> Iterator[redis.Redis]:
    """A Redis to make ill; it is well again after each test."""
    with patient_server.client() as client:
        yield client
        client.replicaof("no", "one")
        for name, value in DEFAULTS.items():
            client.config_set(name, value)
        client.flushall()


@pytest.fixture
def visit(patient: redis.Redis, patient_server: RedisServer, settings: Any) -> Callable[..., Ran]:
    """Have the doctor come to a site on that Redis, which is well in all but the Redis."""

    def come(*options: str, login: str = "", layer: str = REDIS, host: str = "127.0.0.1") -> Ran:
        url = f"redis://{login}{host}:{patient_server.port}/0"
        wanted = site(layer, [url])
        settings.CHANNEL_LAYERS = wanted["CHANNEL_LAYERS"]
        settings.WSADAPTER = {**wanted["WSADAPTER"], "ALLOW_ANONYMOUS": True}
        return run("wsadapter_doctor", *options)

    return come


def found_by(ran: Ran) -> dict[str, list[dict[str, str]]]:
    """The findings of ``--json`` by their subjects."""
    by_subject: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(ran.out)["findings"]:
        by_subject.setdefault(finding["subject"], []).append(finding)
    return by_subject


def only(ran: Ran, subject: str) -> dict[str, str]:
    (finding,) = found_by(ran)[subject]
    return finding


def wrong(ran: Ran) -> list[str]:
    """The subjects that are wrong. Each says what to do."""
    findings = [f for all_of_it in found_by(ran).values() for f in all_of_it]
    assert all(bool(f["advice"]) == (f["verdict"] != "fine") for f in findings)
    assert ran.code == any(f["verdict"] == "error" for f in findings)
    return [f["subject"] for f in findings if f["verdict"] == "error"]


class TestAllIsWell:
    def test_each_thing_is_looked_at(self, visit: Callable[..., Ran]) -> None:
        ran = visit()
        assert [line[2:17].strip() for line in ran.lines if line[:1] == "✓"] == SUBJECTS
        assert ran.lines[-1] == "All is well."
        assert ran.code == 0
        assert max(map(len, ran.lines)) <= 80

    def test_nothing_is_left(self, visit: Callable[..., Ran], patient: redis.Redis) -> None:
        assert visit().code == 0
        assert patient.dbsize() == 0

    @pytest.mark.parametrize("layer", [PUBSUB, CORE])
    def test_on_the_layers_of_channels_redis(self, visit: Callable[..., Ran], layer: str) -> None:
        ran = visit("--json", layer=layer)
        assert wrong(ran) == []
        finding = only(ran, "channel layer")
        assert finding["verdict"] == "warning" and layer in finding["found"]

    @pytest.mark.parametrize("layer", [MEMORY, STOCK_MEMORY])
    def test_in_memory(self, settings: Any, layer: str) -> None:
        settings.CHANNEL_LAYERS = site(layer, [])["CHANNEL_LAYERS"]
        ran = run("wsadapter_doctor", "--json")
        assert wrong(ran) == []
        assert "one process only" in only(ran, "channel layer")["found"]
        assert all("one process only" not in f["found"] for f in found_by(ran)["settings"])
        assert "Redis" not in found_by(ran)
        assert only(ran, "delivery")["verdict"] == "fine"

    def test_a_site_that_lets_nobody_in_without_a_login(
        self, visit: Callable[..., Ran], settings: Any
    ) -> None:
        visit()
        settings.WSADAPTER = {"ALLOW_ANONYMOUS": False, "ALLOW_NO_ORIGIN": False}
        assert wrong(run("wsadapter_doctor", "--json")) == []

    async def test_what_everybody_is_sent_is_not_for_the_doctor(self, on_redis: None) -> None:
        async with in_process.visit("a-group") as call:
            await call.open()
            await abroadcast({"type": "to.everybody"})
            await asend_to_group("a-group", {"type": "to.the.doctor"})
            assert await call.message() == {"type": "to.the.doctor"}

    def test_presence_elsewhere_and_two_hosts(
        self, patient_server: RedisServer, redis_server: RedisServer, settings: Any, patient: Any
    ) -> None:
        wanted = site("redis, two hosts", [redis_server.url, patient_server.url])
        settings.CHANNEL_LAYERS = wanted["CHANNEL_LAYERS"]
        settings.WSADAPTER = {**wanted["WSADAPTER"], "REDIS_URL": patient_server.url}
        ran = run("wsadapter_doctor", "--json")
        assert wrong(ran) == []
        first, second = (finding["found"] for finding in found_by(ran)["Redis"])
        assert patient_server.url in first and redis_server.url in second
        assert only(ran, "scripts")["verdict"] == "fine"  # of presence alone


class TestOutput:
    def test_advice_stands_below_what_was_found(
        self, visit: Callable[..., Ran], patient: redis.Redis
    ) -> None:
        patient.config_set("maxmemory-policy", "allkeys-lru")
        lines = visit().lines
        at = next(number for number, line in enumerate(lines) if line.startswith("✗"))
        assert lines[at].startswith("✗ memory policy  allkeys-lru: ")
        assert any(line.startswith(" " * 17 + "→ CONFIG SET") for line in lines[at:])
        assert lines[-1] == "1 error."

    def test_ascii_where_the_encoding_has_no_more(
        self, visit: Callable[..., Ran], patient: redis.Redis
    ) -> None:
        patient.config_set("maxmemory-policy", "allkeys-lru")
        raw = BytesIO()
        out = TextIOWrapper(raw, encoding="ascii")
        visit()
        run("wsadapter_doctor", out=Named(out, raw))
        text = raw.getvalue().decode("ascii")
        assert "+ settings" in text and "x memory policy" in text and "> CONFIG SET" in text

    def test_json(self, visit: Callable[..., Ran]) -> None:
        document = json.loads(visit("--json").out)
        assert [finding["subject"] for finding in document["findings"]] == SUBJECTS
        assert document["findings"][0].keys() == {"subject", "verdict", "found", "advice"}


class Named:
    """A stream whose text can be asked for, as that of StringIO."""

    def __init__(self, stream: TextIOWrapper, raw: BytesIO) -> None:
        self._stream = stream
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def getvalue(self) -> str:
        return self._raw.getvalue().decode()


class TestSettings:
    def test_a_wrong_one_ends_it(self, visit: Callable[..., Ran], settings: Any) -> None:
        visit()
        settings.WSADAPTER = {"LEASE_SECOND": 15}
        ran = run("wsadapter_doctor", "--json")
        assert wrong(ran) == ["settings"] and len(found_by(ran)) == 1
        assert "wsadapter.E001" in only(ran, "settings")["found"]
        assert "LEASE_SECONDS" in only(ran, "settings")["advice"]

    def test_no_layer(self, settings: Any) -> None:
        settings.CHANNEL_LAYERS = {}
        assert "wsadapter.E003" in only(run("wsadapter_doctor", "--json"), "settings")["found"]

    def test_what_is_unsafe_in_production(self, on_redis: None) -> None:
        ran = run("wsadapter_doctor", "--json")
        assert "wsadapter.W003" in only(ran, "settings")["found"]
        assert only(ran, "settings")["verdict"] == "warning"

    def test_a_layer_that_cannot_be_made(self, settings: Any) -> None:
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.commands.doctor_sites.Broken"}}
        settings.WSADAPTER = {"REDIS_URL": "redis://localhost:1/0"}
        ran = run("wsadapter_doctor", "--json")
        assert wrong(ran) == ["channel layer"]
        assert "no such option" in only(ran, "channel layer")["found"]


class TestRedis:
    def test_one_that_does_not_run(self, settings: Any) -> None:
        url = f"redis://:secret@127.0.0.1:{free_port()}/0"
        settings.CHANNEL_LAYERS = site(REDIS, [url])["CHANNEL_LAYERS"]
        ran = run("wsadapter_doctor", "--json")
        assert wrong(ran) == ["Redis"]
        assert "connection refused" in only(ran, "Redis")["found"]
        assert "secret" not in ran.out + ran.err
        assert "connection" not in found_by(ran)  # it would only fail as well

    @pytest.mark.parametrize("login", [":wrong@", ""], ids=["wrong", "none"])
    def test_a_password_that_is_not_given(
        self, visit: Callable[..., Ran], patient: redis.Redis, login: str
    ) -> None:
        patient.config_set("requirepass", "right")
        # A host that no other test names: connections from before it had a password stay good.
        ran = visit("--json", login=login, host="localhost")
        assert wrong(ran) == ["Redis"]
        assert "wrong password" in only(ran, "Redis")["found"]
        assert ":wrong" not in ran.out

    @pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
    def test_a_policy_that_throws_away_who_is_online(
        self, visit: Callable[..., Ran], patient: redis.Redis, policy: str
    ) -> None:
        patient.config_set("maxmemory-policy", policy)
        ran = visit("--json")
        assert wrong(ran) == ["memory policy"]
        assert "noeviction" in only(ran, "memory policy")["advice"]

    def test_a_policy_for_keys_that_expire_is_fine(
        self, visit: Callable[..., Ran], patient: redis.Redis
    ) -> None:
        patient.config_set("maxmemory-policy", "volatile-lru")
        assert wrong(visit("--json")) == []

    def test_a_full_one(self, visit: Callable[..., Ran], patient: redis.Redis) -> None:
        patient.config_set("maxmemory", "100kb")
        ran = visit("--json")
        assert wrong(ran) == ["memory", "scripts"]
        assert "OutOfMemory" in only(ran, "scripts")["found"]

    def test_a_replica(self, visit: Callable[..., Ran], patient: redis.Redis) -> None:
        master = free_port()
        patient.replicaof("127.0.0.1", master)
        ran = visit("--json")
        assert wrong(ran) == ["role", "scripts"]
        assert f"127.0.0.1:{master}" in only(ran, "role")["found"]
        assert "ReadOnly" in only(ran, "scripts")["found"]

    def test_one_that_cannot_write_to_its_disk(self, tmp_path: Path, settings: Any) -> None:
        directory = tmp_path / "redis"
        directory.mkdir()
        with RedisServer(directory) as server, server.client() as client:
            client.config_set("save", "3600 1")
            shutil.rmtree(directory)
            client.bgsave()
            eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
            settings.CHANNEL_LAYERS = site(REDIS, [server.url])["CHANNEL_LAYERS"]
            ran = run("wsadapter_doctor", "--json")
        assert wrong(ran) == ["persistence", "scripts"]
        assert "snapshot" in only(ran, "persistence")["found"]
        assert "MISCONF" in only(ran, "scripts")["found"]

    def test_a_node_of_a_cluster(self, tmp_path: Path, settings: Any) -> None:
        port = free_port()
        address = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path)]
        options = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        log = tmp_path / "redis.log"
        node = Process([redis_executable(), *address, *options], log_path=log)
        try:
            node.until_ready(lambda: "Ready to accept" in node.log())
            settings.CHANNEL_LAYERS = site(REDIS, [f"redis://127.0.0.1:{port}"])["CHANNEL_LAYERS"]
            ran = run("wsadapter_doctor", "--json")
        finally:
            node.kill()
        assert wrong(ran) == ["scripts"]
        assert only(ran, "cluster")["verdict"] == "warning"

    @pytest.mark.parametrize(
        ("limits", "says"), [("0 0 0", "would fill"), ("1mb 0 0", "burst")], ids=["none", "small"]
    )
    def test_the_buffer_of_a_process(
        self, visit: Callable[..., Ran], patient: redis.Redis, limits: str, says: str
    ) -> None:
        patient.config_set("client-output-buffer-limit", f"pubsub {limits}")
        ran = visit("--json")
        assert wrong(ran) == []
        assert says in only(ran, "pub/sub buffer")["advice"]

    def test_a_user_who_may_not_ask(self, visit: Callable[..., Ran], patient: redis.Redis) -> None:
        patient.execute_command(
            "ACL", "SETUSER", "shy", "on", ">pw", "~*", "&*", "+@all", "-info", "-config"
        )
        try:
            ran = visit("--json", login="shy:pw@")
        finally:
            patient.acl_deluser("shy")
        assert wrong(ran) == []
        assert "INFO" in only(ran, "Redis")["advice"]
        assert "CONFIG GET" in only(ran, "pub/sub buffer")["found"]

    def test_a_user_who_may_run_no_scripts(
        self, visit: Callable[..., Ran], patient: redis.Redis
    ) -> None:
        patient.execute_command(
            "ACL", "SETUSER", "weak", "on", ">pw", "~*", "&*", "+@all", "-evalsha", "-eval"
        )
        try:
            ran = visit("--json", login="weak:pw@")
        finally:
            patient.acl_deluser("weak")
        assert wrong(ran) == ["scripts"]
        assert "EVALSHA" in only(ran, "scripts")["advice"]

    def test_a_clock_that_is_an_hour_wrong(self, on_redis: None) -> None:
        pool = conf.redis_pool()
        assert pool is not None
        found = list(examine_redis(pool, conf.store(), now=lambda: time.time() + 3600))
        (finding,) = (finding for finding in found if finding.subject == "clock")
        assert finding.verdict is WARNING
        assert "3600.0 s" in finding.found


class TestNumbers:
    @pytest.mark.parametrize(
        ("pings", "verdict"),
        [
            ([0.0001] * 19 + [0.9], FINE),
            ([0.006] * 20, WARNING),
            ([0.0001] * 19 + [1.1], ERROR),
        ],
        ids=["fast", "slow", "near the timeout"],
    )
    def test_latency(self, pings: list[float], verdict: Verdict) -> None:
        assert latency(pings, timeout_seconds=2).verdict is verdict

    @pytest.mark.parametrize(
        ("said", "verdict"),
        [("7.2.4", FINE), ("6.2.0", FINE), ("6.0.16", ERROR), ("4.0.14", ERROR), ("", ERROR)],
    )
    def test_version(self, said: str, verdict: Verdict) -> None:
        assert version({"redis_version": said}, "redis://here").verdict is verdict

    @pytest.mark.parametrize(("used", "verdict"), [(70, FINE), (80, WARNING), (96, ERROR)], ids=str)
    def test_memory(self, used: int, verdict: Verdict) -> None:
        assert memory({"used_memory": used, "maxmemory": 100}).verdict is verdict
        of_the_machine = {"used_memory": used, "maxmemory": 0, "total_system_memory": 100}
        assert memory(of_the_machine).verdict is verdict

    @pytest.mark.parametrize(
        ("seconds", "verdict"), [(1.9, FINE), (-1.9, FINE), (2.1, WARNING), (-2.1, WARNING)]
    )
    def test_clocks(self, seconds: float, verdict: Verdict) -> None:
        assert clock(seconds).verdict is verdict

    @pytest.mark.parametrize(
        ("limits", "verdict"),
        [
            ("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", FINE),
            ("pubsub 33554432 0 0", FINE),
            ("pubsub 33554432 1000 60", WARNING),
            ("pubsub 0 8388608 60", WARNING),
            (None, WARNING),
        ],
        ids=["default", "no soft one", "a small soft one", "no hard one", "unknown"],
    )
    def test_buffers(self, limits: str | None, verdict: Verdict) -> None:
        assert buffer_limit(limits).verdict is verdict


class TestInProcess:
    """A consumer that does not do what it should, in an otherwise healthy site."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch, on_redis: None) -> None:
        monkeypatch.setattr(in_process, "PATIENCE_SECONDS", 0.5)

    def failure(self) -> Finding:
        found = list(examine())[-1]
        assert (found.subject, found.verdict) == ("connection", ERROR)
        return found

    def test_one_that_closes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def connect(self: AdapterConsumer) -> None:
            await self.accept()
            await self.close(4001, "not today")

        monkeypatch.setattr(in_process.Visitor, "connect", connect)
        monkeypatch.setattr(in_process.Visitor, "welcome", False)
        assert "closed with 4001 (not today)" in self.failure().found

    def test_one_that_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(in_process.Visitor, "allow_anonymous", False)
        assert "3500 (log in first)" in self.failure().found

    def test_one_that_never_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def connect(self: AdapterConsumer) -> None: ...

        monkeypatch.setattr(in_process.Visitor, "connect", connect)
        assert "nothing came in time" in self.failure().found

    def test_a_message_that_does_not_come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def lose(group: str, message: object) -> None: ...

        monkeypatch.setattr(in_process, "asend_to_group", lose)
        delivery, departure = list(examine())[-2:]
        assert (delivery.subject, delivery.verdict) == ("delivery", ERROR)
        assert "nothing came in time" in delivery.found
        assert departure.verdict is FINE

    async def test_one_that_is_not_counted(self) -> None:
        found = await in_process._presence("nobody")
        assert (found.subject, found.verdict) == ("presence", ERROR)

    async def test_one_that_stays(self, record: Record) -> None:
        await asyncio.to_thread(record, client_id := uuid4().hex)
        found = await in_process._departure(client_id)
        assert (found.subject, found.verdict) == ("departure", ERROR)
