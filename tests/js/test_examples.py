"""The examples that `wsadapter.client` is held to as well."""

from __future__ import annotations

import json
import math

import pytest

from tests.examples import CLIENT
from tests.js.lab import Tab


def test_close_codes(tab: Tab) -> None:
    told = tab.run(
        """
        return argument.map(([code]) => {
          const w = world();
          w.wire.accept().end(code);
          const { state } = w.socket;
          const [, { kind }] = w.events.at(-1);
          w.clock.advance(1_000);
          return [code, state === "waiting" && w.wires.length === 2, kind];
        })
        """,
        CLIENT["close_codes"],
    )
    assert told == CLIENT["close_codes"]


def test_delays(tab: Tab) -> None:
    delays = tab.run(
        "return argument.map(({ attempt, random }) => backoffDelayMs(attempt, random) / 1000)",
        CLIENT["delays"],
    )
    assert delays == pytest.approx([example["seconds"] for example in CLIENT["delays"]])


def test_a_server_that_refuses_every_attempt(tab: Tab) -> None:
    delays = tab.run(
        """
        const w = world();
        w.chance = argument.random;
        return argument.seconds.map(() => {
          w.wire.end(1006, "", false);
          const [delayMs] = w.clock.delaysMs;
          w.clock.advance(delayMs);
          return delayMs / 1000;
        })
        """,
        CLIENT["refusals"],
    )
    assert delays == pytest.approx(CLIENT["refusals"]["seconds"])


def test_a_server_that_is_exhausted(tab: Tab) -> None:
    exhaustion = CLIENT["exhaustion"]
    delays = tab.run(
        """
        return argument.lives.map(({ name, connections }) => {
          const w = world();
          w.chance = argument.random;
          return [name, connections.map(({ lived = 0, told, lives = 0, code }) => {
            w.wire.welcome();
            w.clock.advance(lived * 1000);
            for (const each of told) {
              w.wire.say({ type: "ws:error", code: "x", message: "Later.", ...each });
            }
            w.clock.advance(lives * 1000);
            w.wire.end(code);
            const [delayMs] = w.clock.delaysMs;
            w.clock.advance(delayMs);
            return delayMs / 1000;
          })];
        })
        """,
        exhaustion,
    )
    assert delays == [
        [life["name"], [connection["seconds"] for connection in life["connections"]]]
        for life in exhaustion["lives"]
    ]


def test_sequences(tab: Tab) -> None:
    taken = tab.run(
        """
        return argument.map(({ name, numbers }) => {
          const sequence = new Sequence();
          const take = (number) => sequence.take({ type: "a", sequence: number });
          return [name, numbers.map(take).map(({ missed, stale }) => [missed, stale])];
        })
        """,
        CLIENT["sequences"],
    )
    assert taken == [[example["name"], example["taken"]] for example in CLIENT["sequences"]]


def test_silence(tab: Tab) -> None:
    silence = CLIENT["silence"]
    told = tab.run(
        """
        const timings = {
          pingAfterMs: argument.ping_after_seconds * 1000,
          pongWithinMs: argument.pong_within_seconds * 1000,
        };
        return argument.checks.map(({ name, since, pings, now }) => {
          const given = { sinceMs: since * 1000, pings };
          const { verdict, watch, againInMs } = watchSilence(given, now * 1000, timings);
          return [name, verdict, watch.sinceMs / 1000, watch.pings, againInMs / 1000];
        })
        """,
        silence,
    )
    assert told == [
        [
            check["name"],
            check["verdict"],
            *check["then"],
            math.inf if check["again_in"] is None else check["again_in"],
        ]
        for check in silence["checks"]
    ]


def test_frames(tab: Tab) -> None:
    told = tab.run(
        """
        return argument.map(({ server }) => {
          const w = world();
          w.wire.accept().sayRaw(server);
          const delivered = w.events.filter(([name]) => name === "ws:message");
          return [server, w.wire.sent, delivered.map(([, message]) => message)];
        })
        """,
        CLIENT["frames"],
    )
    assert told == [
        [
            example["server"],
            [json.loads(answer) for answer in example["answers"]],
            example["delivers"],
        ]
        for example in CLIENT["frames"]
    ]


def test_members(tab: Tab) -> None:
    """What a group is told of its members has events of its own, and is not answered."""
    told = tab.run(
        """
        return argument.map(({ server }) => {
          const w = world();
          w.wire.accept();
          const news = [];
          for (const type of ["ws:joined", "ws:left", "ws:message"]) {
            w.socket.on(type, (message) => news.push([type, message]));
          }
          w.wire.sayRaw(server);
          return [server, w.wire.sent, news];
        })
        """,
        CLIENT["members"],
    )
    assert told == [
        [example["server"], [], [[news["type"], news] for news in example["news"]]]
        for example in CLIENT["members"]
    ]


def test_requests(tab: Tab) -> None:
    told = tab.run(
        """
        return Promise.all(argument.map(async ({ type, fields }) => {
          const w = world();
          w.wire.accept();
          const asking = outcome(w.socket.request(type, fields));
          w.wire.end(3503);
          return [...w.wire.sent, (await asking).code];
        }))
        """,
        CLIENT["requests"],
    )
    assert told == [[example["frame"], "closed"] for example in CLIENT["requests"]]


def test_controls(tab: Tab) -> None:
    told = tab.run(
        """
        return argument.map(({ call, arguments: given }) => {
          const w = world();
          w.wire.accept();
          return [w.socket[call](...given), w.wire.sent];
        })
        """,
        CLIENT["controls"],
    )
    assert told == [[True, [example["frame"]]] for example in CLIENT["controls"]]


def test_outcomes(tab: Tab) -> None:
    told = tab.run(
        """
        return Promise.all(argument.map(async ({ server }) => {
          const w = world();
          w.wire.accept();
          const asking = w.socket.request("chat.say");
          w.wire.sayRaw(server);
          const { result, code, message, path, kind, retryAfterMs } = await outcome(asking);
          if (code === undefined) return { result: result ?? null };
          const retryAfter = retryAfterMs === null ? null : retryAfterMs / 1000;
          return { error: [code, message, path, kind, retryAfter] };
        }))
        """,
        CLIENT["outcomes"],
    )
    expected = [
        {key: value for key, value in example.items() if key != "server"}
        for example in CLIENT["outcomes"]
    ]
    assert told == expected
