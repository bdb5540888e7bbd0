"""request(): the reply, the error, the timeout and the lost connection; time is moved by hand."""

from __future__ import annotations

from tests.js.lab import Tab


def test_replies_find_their_requests(tab: Tab) -> None:
    sent, outcomes, pending_timers = tab.run("""
        const w = world();
        w.wire.accept();
        const first = w.socket.request("chat.say", { text: "hi", type: "forged", id: "forged" });
        const second = w.socket.request("chat.who");
        const third = w.socket.request("chat.quiet");
        w.wire.say({ type: "ws:reply", id: 2, result: ["eva"] });
        w.wire.say({ type: "ws:reply", id: 1, result: { at: 5 } });
        w.wire.say({ type: "ws:reply", id: 1, result: "a second time" });
        w.wire.say({ type: "ws:reply", id: 3 });
        const outcomes = await Promise.all([first, second, third].map(outcome));
        return [w.wire.sent, outcomes, w.clock.delaysMs]
    """)
    assert sent == [
        {"text": "hi", "type": "chat.say", "id": 1},
        {"type": "chat.who", "id": 2},
        {"type": "chat.quiet", "id": 3},
    ]
    assert outcomes[:2] == [{"result": {"at": 5}}, {"result": ["eva"]}]
    assert outcomes[2].get("result") is None and "code" not in outcomes[2]
    assert pending_timers == [25_000]


def test_errors_reject_with_code_message_and_path(tab: Tab) -> None:
    whole, bare, is_error, events = tab.run("""
        const w = world();
        w.wire.accept();
        const whole = w.socket.request("chat.say", { text: 5 });
        const bare = w.socket.request("chat.say");
        const isError = whole.catch((e) => [e instanceof RequestError, e instanceof Error, `${e}`]);
        const error = { type: "ws:error", code: "invalid", message: "Expected text." };
        w.wire.say({ ...error, id: 1, path: "$.text", kind: "exhausted", retry_after: 1.5 });
        w.wire.say({ type: "ws:error", id: 2 });
        return [await outcome(whole), await outcome(bare), await isError, w.names.slice(2)]
    """)
    assert whole == {
        "name": "RequestError",
        "code": "invalid",
        "path": "$.text",
        "message": "Expected text.",
        "kind": "exhausted",
        "retryAfterMs": 1500,
    }
    assert (bare["code"], bare["path"]) == ("undefined", None)
    assert (bare["kind"], bare["retryAfterMs"]) == ("fatal", None)
    assert is_error == [True, True, "RequestError: Expected text."]
    assert events == []


def test_a_request_without_reply_times_out(tab: Tab) -> None:
    early, late, own, events = tab.run("""
        const w = world();
        w.wire.accept();
        const promise = w.socket.request("slow");
        const own = w.socket.request("slower", {}, { timeoutMs: 500 });
        w.clock.advance(9_999);
        const early = await outcome(promise);
        w.clock.advance(1);
        w.wire.say({ type: "ws:reply", id: 1, result: "too late" });
        return [early, await outcome(promise), await outcome(own), w.names.slice(2)]
    """)
    assert early == "pending"
    assert (late["code"], late["kind"], late["retryAfterMs"]) == ("timeout", "transient", None)
    assert late["message"] == '"slow" had no reply within 10000 ms.'
    assert own["message"] == '"slower" had no reply within 500 ms.'
    assert events == []


def test_a_request_is_lost_with_the_connection_that_carried_it(tab: Tab) -> None:
    told = tab.run("""
        const loseBy = {
          server: (w) => w.wire.end(1006),
          close: (w) => w.socket.close(),
          reconnect: (w) => w.socket.reconnect(),
          pagehide: () => transition("pagehide"),
          silence: (w) => w.clock.advance(35_000),
        };
        const codes = await Promise.all(Object.values(loseBy).map((lose) => {
          const w = world();
          w.wire.accept();
          const promise = w.socket.request("slow", {}, { timeoutMs: Infinity });
          lose(w);
          return outcome(promise);
        }));
        return codes.map(({ code, kind, message }) => [code, kind, message])
    """)
    assert told == [["closed", "transient", "The connection ended before the reply."]] * 5


def test_a_request_waits_for_a_connection_and_is_sent_once(tab: Tab) -> None:
    sent, (early, *failures) = tab.run("""
        const w = world();
        const early = w.socket.request("early");
        const [first] = w.wires;
        first.end(1006);
        const waiting = w.socket.request("waiting");
        const impatient = w.socket.request("impatient", {}, { timeoutMs: 100 });
        w.clock.advance(250);
        w.wire.accept();
        const [, second] = w.wires;
        second.say({ type: "ws:reply", id: 1, result: "early" });
        second.end(1006);
        const left = w.socket.request("left");
        w.socket.close();
        const refused = w.socket.request("refused");
        const outcomes = await Promise.all([early, waiting, impatient, left, refused].map(outcome));
        return [[first.sent, second.sent], outcomes]
    """)
    assert sent == [[], [{"type": "early", "id": 1}, {"type": "waiting", "id": 2}]]
    assert early == {"result": "early"}
    assert [each["code"] for each in failures] == ["closed", "timeout", "closed", "closed"]
    assert {each["kind"] for each in failures} == {"transient"}
    assert failures[-1]["message"] == '"refused" was not sent: the socket is closed.'


def test_fields_that_json_cannot_say_reject(tab: Tab) -> None:
    name, sent = tab.run("""
        const w = world();
        w.wire.accept();
        return [(await outcome(w.socket.request("big", { n: 5n }))).name, w.wire.sent]
    """)
    assert (name, sent) == ("TypeError", [])
