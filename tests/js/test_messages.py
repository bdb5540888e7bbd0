"""What listeners get, what send() takes, and what junk does: nothing."""

from __future__ import annotations

from tests.js.lab import Tab


def test_messages_arrive_under_their_type_and_together(tab: Tab) -> None:
    typed, everything = tab.run(
        """
        const w = world();
        const typed = [];
        for (const type of ["order.paid", "__proto__", "message"]) {
          w.socket.on(type, (message) => typed.push(message));
        }
        w.wire.accept();
        for (const text of argument) w.wire.sayRaw(text);
        return [typed, w.events.filter(([name]) => name === "ws:message").map(([, each]) => each)]
        """,
        [
            '{"type": "order.paid", "id": 7}',
            '{"type": "__proto__"}',
            '{"type": "message"}',
            '{"version": 7}',
            "[1, 2]",
            "42",
            "null",
            "plain text",
            '{"type": 5}',
            "",
        ],
    )
    assert typed == [{"type": "order.paid", "id": 7}, {"type": "__proto__"}, {"type": "message"}]
    assert everything == [*typed, {"version": 7}, [1, 2], 42, None, "plain text", {"type": 5}, ""]


def test_a_batch_is_unpacked_in_order(tab: Tab) -> None:
    sent, names, messages = tab.run("""
        const w = world();
        w.wire.accept();
        w.wire.say({
          type: "ws:batch",
          messages: [
            { type: "ws:welcome", client: "c1" }, { type: "a" }, 1,
            { type: "ws:batch", messages: [{ type: "nested" }] }, { type: "b" },
          ],
        });
        w.socket.on("stop", () => w.socket.close());
        w.wire.say({ type: "ws:batch", messages: [{ type: "stop" }, { type: "too late" }] });
        const messages = w.events.filter(([name]) => name === "ws:message").map(([, each]) => each);
        return [w.wire.sent, w.names.slice(2, 6), messages]
    """)
    assert sent == [{"type": "ws:pong"}]
    assert names == ["ws:welcome", "ws:message", "ws:message", "ws:message"]
    assert messages == [{"type": "a"}, 1, {"type": "b"}, {"type": "stop"}]


def test_junk_is_survived(tab: Tab) -> None:
    state, client_id, sent, names = tab.run(
        """
        const w = world();
        w.wire.accept();
        for (const text of argument) w.wire.sayRaw(text);
        w.wire.sayRaw("[".repeat(100_000));
        return [w.socket.state, w.socket.clientId, w.wire.sent, w.names]
        """,
        [
            '{"type": "ws:welcome", "client": 5}',
            '{"type": "ws:batch"}',
            '{"type": "ws:batch", "messages": 5}',
            '{"type": "ws:batch", "messages": [null, {"type": null}]}',
            '{"type": "ws:reply"}',
            '{"type": "ws:reply", "id": {}}',
            '{"type": "ws:error"}',
            '{"type": "ws:from the future"}',
            '{"type": "ws:open"}',
            '{"type": "ws:',
        ],
    )
    assert (state, client_id, sent) == ("open", None, [{"type": "ws:pong"}])
    assert names[2:] == ["ws:welcome", "ws:message", "ws:message", "ws:error", *["ws:message"] * 2]
    assert tab.errors == []


def test_an_exception_in_one_listener_stops_no_other(tab: Tab) -> None:
    heard = tab.run("""
        const w = world();
        const heard = [];
        const twice = (message) => heard.push(`twice ${message.n}`);
        const offTwice = w.socket.on("a", twice);
        w.socket.on("a", twice);
        w.socket.on("a", () => { throw new Error("a listener's own fault") });
        const offLast = w.socket.on("a", ({ n }) => heard.push(`last ${n}`));
        w.socket.on("b", () => { offLast(); offB(); w.socket.on("b", () => heard.push("new b")) });
        const offB = w.socket.on("b", () => heard.push("taken off in the same turn"));
        w.wire.accept();
        w.wire.say({ type: "a", n: 1 });
        offTwice();
        offTwice();
        w.wire.say({ type: "b" });
        w.wire.say({ type: "a", n: 2 });
        return heard
    """)
    assert heard == ["twice 1", "twice 1", "last 1", "twice 2"]
    assert tab.errors == ["a listener's own fault"] * 2


def test_the_view_is_what_each_connection_begins_with(tab: Tab) -> None:
    told = tab.run("""
        const w = world();
        w.socket.on("ws:state", (state) => state === "open" && w.socket.send("hello"));
        const asking = w.socket.request("chat.who");
        const sentNow = [w.socket.view("small"), w.socket.view("summary")];
        w.wire.accept().end(1006);
        w.clock.advance(250);
        w.wire.accept();
        sentNow.push(w.socket.view("default"));
        w.wire.end(1006);
        w.clock.advance(500);
        w.wire.accept();
        return [sentNow, w.wires.map((wire) => wire.sent), (await outcome(asking)).code]
    """)
    summary, default = ({"type": "ws:view", "view": name} for name in ("summary", "default"))
    assert told == [
        [False, False, True],
        [
            [summary, "hello", {"type": "chat.who", "id": 1}],
            [summary, "hello", default],
            [default, "hello"],
        ],
        "closed",
    ]


def test_the_end_of_a_stream_is_not_kept_for_later(tab: Tab) -> None:
    told = tab.run("""
        const w = world();
        const taken = [w.socket.end()];
        w.wire.accept();
        taken.push(w.socket.end());
        w.wire.say({ type: "summary" });
        return [taken, w.wire.sent, w.socket.state, w.names.slice(2)]
    """)
    assert told == [[False, True], [{"type": "ws:end"}], "open", ["ws:message"]]


def test_what_is_no_message_has_no_place_in_a_sequence(tab: Tab) -> None:
    taken = tab.run("""
        const sequence = new Sequence();
        const messages = [null, undefined, 5, "text", [1], new ArrayBuffer(1), {}];
        return messages.map((message) => sequence.take(message))
    """)
    assert taken == [{"missed": 0, "stale": False}] * 7


def test_gaps_and_errors_without_a_request_are_events(tab: Tab) -> None:
    events = tab.run("""
        const w = world();
        w.wire.accept();
        w.wire.say({ type: "ws:gap" });
        w.wire.say({ type: "ws:error", id: null, code: "invalid_json", message: "No JSON." });
        w.wire.say({ type: "ws:error", id: 99, code: "x", kind: "exhausted", retry_after: 3 });
        return w.events.slice(2)
    """)
    assert events == [
        ["ws:gap", {"type": "ws:gap"}],
        [
            "ws:error",
            {"type": "ws:error", "id": None, "code": "invalid_json", "message": "No JSON."},
        ],
        [
            "ws:error",
            {"type": "ws:error", "id": 99, "code": "x", "kind": "exhausted", "retry_after": 3},
        ],
    ]


def test_send_takes_text_binary_and_json(tab: Tab) -> None:
    told = tab.run("""
        const w = world();
        w.wire.accept();
        const binary = [new ArrayBuffer(1), new Uint8Array(2), new Blob(["abc"])];
        const json = [{ type: "a" }, "text", "", null, 5, [1], new Date(0)];
        const taken = [...binary, ...json].map((data) => w.socket.send(data));
        const same = binary.every((data, i) => w.wire.sent[i] === data);
        const fault = (data) => {
          try { return w.socket.send(data) } catch (error) { return error.name }
        };
        const faults = [undefined, () => {}, 5n].map(fault);
        return [taken, same, w.wire.sent.slice(3), faults]
    """)
    sent = [{"type": "a"}, "text", "", "null", "5", "[1]", '"1970-01-01T00:00:00.000Z"']
    assert told == [[True] * 10, True, sent, ["TypeError"] * 3]


def test_send_keeps_nothing_for_later(tab: Tab) -> None:
    told = tab.run("""
        const w = world();
        const taken = [w.socket.send("connecting")];
        w.wire.accept();
        w.wire.readyState = 2;
        taken.push(w.socket.send("closing"));
        w.wire.end(1006);
        taken.push(w.socket.send("waiting"));
        w.clock.advance(250);
        w.wire.accept();
        taken.push(w.socket.send("open"));
        w.socket.close();
        taken.push(w.socket.send("closed"));
        return [taken, w.wires.map((wire) => wire.sent)]
    """)
    assert told == [[False, False, False, True, False], [[], ["open"]]]
