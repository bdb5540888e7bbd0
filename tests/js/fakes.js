/** A world for one socket in which nothing is waited for: time, chance and the network are moved by hand. */
import { connect } from "wsadapter";

class FakeClock {
  nowMs = 1_000_000;
  timers = new Map();
  lastId = 0;

  now = () => this.nowMs;
  setTimeout = (callback, delayMs) => {
    this.timers.set(++this.lastId, { callback, dueMs: this.nowMs + delayMs });
    return this.lastId;
  };
  clearTimeout = (id) => void this.timers.delete(id);

  /** Time passes, and each timer fires when it is due. */
  advance(byMs) {
    const untilMs = this.nowMs + byMs;
    for (let id; (id = this.nextDue(untilMs)); ) {
      this.nowMs = Math.max(this.nowMs, this.timers.get(id).dueMs);
      this.fire(id);
    }
    this.nowMs = untilMs;
  }

  /** Time passes while timers stand still; then those that are due fire, late. */
  sleep(byMs) {
    this.nowMs += byMs;
    for (let id; (id = this.nextDue(this.nowMs)); ) this.fire(id);
  }

  nextDue(untilMs) {
    const due = [...this.timers].filter(([, timer]) => timer.dueMs <= untilMs);
    return due.sort(([, a], [, b]) => a.dueMs - b.dueMs)[0]?.[0];
  }

  fire(id) {
    const { callback } = this.timers.get(id);
    this.timers.delete(id);
    callback();
  }

  get delaysMs() {
    return [...this.timers.values()].map((timer) => timer.dueMs - this.nowMs);
  }
}

class FakeWebSocket {
  readyState = 0;
  sent = [];
  closedWith = null;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
  }

  send(frame) {
    this.sent.push(typeof frame === "string" && frame.startsWith("{") ? JSON.parse(frame) : frame);
  }

  close(code, reason) {
    this.readyState = 2;
    this.closedWith = [code ?? null, reason ?? null];
  }

  accept() {
    this.readyState = 1;
    this.onopen?.();
    return this;
  }

  welcome(client = "c1") {
    this.accept();
    return this.say({ type: "ws:welcome", client });
  }

  say(message) {
    return this.sayRaw(JSON.stringify(message));
  }

  sayRaw(data) {
    this.onmessage?.({ data });
    return this;
  }

  end(code, reason = "", wasClean = true) {
    this.readyState = 3;
    this.onclose?.({ code, reason, wasClean });
  }
}

const NAMES = ["state", "open", "close", "welcome", "gap", "error", "message", "binary"].map((name) => `ws:${name}`);

export function world(options = {}, url = "/ws/") {
  const wires = [];
  const events = [];
  const clock = new FakeClock();
  const made = { wires, events, clock, chance: 0.5 };
  class Wire extends FakeWebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      wires.push(this);
    }
  }
  made.socket = connect(url, { WebSocket: Wire, clock, random: () => made.chance, ...options });
  for (const name of NAMES) made.socket.on(name, (event) => events.push([name, event]));
  return Object.defineProperties(made, {
    wire: { get: () => wires.at(-1) }, // the newest connection
    names: { get: () => events.map(([name]) => name) },
    states: { get: () => events.filter(([name]) => name === "ws:state").map(([, state]) => state) },
  });
}

/** Everything that was ready has run. */
export function settled() {
  return new Promise((resolve) => setTimeout(resolve));
}

/** How a promise stands then. */
export function outcome(promise) {
  const pending = settled().then(() => "pending");
  const told = promise.then(
    (result) => ({ result }),
    ({ name, code, path, message, kind, retryAfterMs }) => ({ name, code, path, message, kind, retryAfterMs }),
  );
  return Promise.race([told, pending]);
}

export function pageIs(visibilityState) {
  Object.defineProperty(document, "visibilityState", { get: () => visibilityState, configurable: true });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}

export function transition(type) {
  window.dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
}
