/**
 * The browser's end of a wsadapter connection: one ES module, no dependencies.
 *
 *     import { connect } from "wsadapter";
 *     const socket = connect("/ws/");
 *     socket.on("order.paid", (order) => show(order));
 *     const said = await socket.request("chat.say", { text: "hi" });
 *
 * A message arrives under its own `type`. Types that begin with "ws:" belong to wsadapter, and the server refuses them
 * to applications, so these events clash with nothing of yours:
 *
 *   ws:state    the new state: "connecting", "open", "waiting" (for the next attempt) or "closed"
 *   ws:open     { reconnected }: connected; messages can be sent
 *   ws:close    { code, reason, wasClean, kind, willReconnect, delayMs }: a connection, or an attempt at one, has ended
 *   ws:welcome  { type, client }: registered; nothing sent from now on is missed
 *   ws:gap      messages may have been missed (also after each reconnect, once welcomed): load the page's data again
 *   ws:joined   { group, user, client, info }: somebody has joined a group whose members are announced
 *   ws:left     { group, user, client }: somebody has left it; client is null unless there is no user
 *   ws:error    { code, kind, message, … }: the server could not take a message that was not a request
 *   ws:message  every message of the application: parsed JSON, else text, else binary
 *   ws:binary   binary messages alone
 *
 * Delivery is at most once both ways. Types and every option: socket.d.ts.
 *
 * @typedef {import("./socket.d.ts").State} State
 * @typedef {import("./socket.d.ts").Watch} Watch
 * @typedef {import("./socket.d.ts").Timings} Timings
 * @typedef {import("./socket.d.ts").SocketOptions} SocketOptions
 * @typedef {import("./socket.d.ts").CloseDetail} CloseDetail
 * @typedef {import("./socket.d.ts").FailureKind} FailureKind
 * @typedef {{ code: number, reason: string, wasClean: boolean }} Ending
 * @typedef {{ frame: string | null, timer: unknown, resolve: (result: any) => void, reject: (error: Error) => void }} Request
 */

/** @template T @typedef {import("./socket.d.ts").Fresh<T>} Fresh */

/** @type {Required<SocketOptions>} */
const DEFAULTS = {
  protocols: [],
  binaryType: "arraybuffer",
  backoffFloorMs: 100,
  backoffBaseMs: 500,
  backoffCapMs: 20_000,
  stableAfterMs: 5_000,
  connectWithinMs: 20_000,
  pingAfterMs: 25_000,
  pongWithinMs: 10_000,
  WebSocket: globalThis.WebSocket,
  random: () => Math.random(),
  clock: {
    now: () => Date.now(),
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (timer) => clearTimeout(/** @type {number} */ (timer)),
  },
};

/** What may happen in each state and where it leads; what is not here cannot happen. @type {Record<State, Record<string, State>>} */
const TRANSITIONS = {
  connecting: { opened: "open", lost: "waiting", ended: "closed" },
  open: { lost: "waiting", ended: "closed" },
  waiting: { dialled: "connecting", ended: "closed" },
  closed: { dialled: "connecting" },
};

const PAGE_EVENTS = ["online", "visibilitychange", "pageshow", "pagehide"];
const NORMAL = 1000;
const ABNORMAL = 1006;
const NO_PONG = 3012;
const TOO_MANY = 3013;
/** @type {FailureKind[]} */ const KINDS = ["transient", "exhausted", "fatal"];
const OPEN = 1; // WebSocket.OPEN, also where the constructor is a test's own
const LONGEST_TIMER_MS = 2 ** 31 - 1; // browsers fire a longer one at once
const LATE_MS = 2_000; // a timer this late means that the page was throttled, frozen or asleep

/** @param {State} state @param {string} event @returns {State} */
export function nextState(state, event) {
  const next = TRANSITIONS[state]?.[event];
  if (next === undefined) throw new Error(`A socket that is "${state}" cannot be "${event}".`);
  return next;
}

/** Whether a close code asks the client to come back. @param {number} code */
export function shouldReconnect(code) {
  if (code < 3000) return code !== 1000 && code !== 1009;
  return code % 1000 < 500;
}

/** What to do about a connection's end, or null where nothing has failed. @param {number} code @returns {FailureKind | null} */
export function kindOf(code) {
  if (code === NORMAL) return null;
  if (code === TOO_MANY) return "exhausted";
  return shouldReconnect(code) ? "transient" : "fatal";
}

/**
 * Full jitter, so that the clients of a server that went away do not come back as one.
 * @param {number} attempt from 0  @param {number} random in [0, 1)  @param {Partial<Timings>} [timings]
 */
export function backoffDelayMs(attempt, random, timings = {}) {
  const { backoffFloorMs, backoffBaseMs, backoffCapMs } = { ...DEFAULTS, ...timings };
  const ceilingMs = Math.min(backoffCapMs, backoffBaseMs * 2 ** attempt);
  return Math.max(Math.min(backoffFloorMs, ceilingMs), random * ceilingMs);
}

/**
 * What to do about a silent server. `watch.sinceMs` is when it was last heard or, with unanswered `pings`, last asked.
 * A check that comes late (throttled tab, sleeping machine) asks once more before it may say "dead".
 * @param {Watch} watch  @param {number} nowMs  @param {Pick<Timings, "pingAfterMs" | "pongWithinMs">} timings
 * @returns {{ verdict: "wait" | "ping" | "dead", watch: Watch, againInMs: number }}
 */
export function watchSilence({ sinceMs, pings }, nowMs, { pingAfterMs, pongWithinMs }) {
  const startMs = Math.min(sinceMs, nowMs); // a clock that was set back must not stretch the silence
  const lateMs = nowMs - startMs - (pings === 0 ? pingAfterMs : pongWithinMs);
  if (lateMs < 0) return { verdict: "wait", watch: { sinceMs: startMs, pings }, againInMs: -lateMs };
  const asksAgain = pings === 0 || (pings === 1 && lateMs > LATE_MS);
  if (asksAgain) return { verdict: "ping", watch: { sinceMs: nowMs, pings: pings + 1 }, againInMs: pongWithinMs };
  return { verdict: "dead", watch: { sinceMs, pings }, againInMs: Infinity };
}

/** "/ws/" on https://shop.example is wss://shop.example/ws/. @param {string | URL} url @param {string} base */
export function resolveUrl(url, base) {
  const resolved = new URL(url, base);
  resolved.protocol = resolved.protocol.replace(/^http/, "ws");
  resolved.hash = ""; // a WebSocket URL has none
  return resolved.href;
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {any} message @returns {any[]} */
function unpack(message) {
  if (message?.type !== "ws:batch") return [message];
  return Array.isArray(message.messages) ? message.messages : [];
}

/** Milliseconds of a `retry_after`, which is in seconds. @param {unknown} seconds */
function retryAfterMs(seconds) {
  return typeof seconds === "number" && seconds >= 0 && seconds < Infinity ? seconds * 1000 : null;
}

/** @template T @param {Fresh<T>} given @returns {Promise<T>} */
async function fresh(given) {
  return typeof given === "function" ? /** @type {() => T | Promise<T>} */ (given)() : given;
}

/** @param {unknown} data @returns {any} */
function encode(data) {
  if (typeof data === "string" || data instanceof Blob || data instanceof ArrayBuffer || ArrayBuffer.isView(data)) return data;
  const text = JSON.stringify(data);
  if (text === undefined) throw new TypeError(`A message is text, binary or what JSON can say, not ${typeof data}.`);
  return text;
}

/** @param {WebSocket} socket @param {Ending} ending */
function hangUp(socket, { code, reason }) {
  if (code === ABNORMAL) socket.close(); // 1006 can be seen, not sent
  else socket.close(code, reason);
}

/** @param {SocketOptions} given @returns {Required<SocketOptions>} */
function readOptions(given) {
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULTS, name)) throw new TypeError(`connect() has no option "${name}"; it has ${Object.keys(DEFAULTS).join(", ")}.`);
    if (name.endsWith("Ms") && !(value >= 0)) throw new RangeError(`${name} is a number of milliseconds from 0, not ${value}.`);
  }
  return { ...DEFAULTS, ...given };
}

/** Why a request has no result: the server's code, or "timeout", or "closed". */
export class RequestError extends Error {
  name = "RequestError";

  /**
   * @param {string} code @param {string} message @param {string | null} path
   * @param {FailureKind} kind @param {number | null} retryAfterMs
   */
  constructor(code, message, path = null, kind = "transient", retryAfterMs = null) {
    super(message);
    this.code = code;
    this.path = path;
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The server's; one who is not told to try again does not. @param {any} message */
function requestError({ code, message, path, kind, retry_after }) {
  const known = KINDS.includes(kind) ? kind : "fatal";
  return new RequestError(String(code), String(message), path, known, retryAfterMs(retry_after));
}

/**
 * Whether every message of a sequence has come. A group's goes on after a reconnect, so that one Sequence sees what was
 * missed meanwhile; a stream's begins anew with each connection, and so should its Sequence.
 */
export class Sequence {
  /** @type {number | null} */ #newest = null;

  /** The first message, and one without a number, leave nothing out. @param {any} message */
  take(message) {
    const number = message?.sequence;
    if (!Number.isInteger(number)) return { missed: 0, stale: false };
    const newest = this.#newest ?? number - 1;
    this.#newest = Math.max(number, newest);
    return { missed: Math.max(0, number - newest - 1), stale: number <= newest };
  }
}

/** How long to stay away, from one connection to the next. */
class Backoff {
  #timings;
  #attempt = 0;
  /** For how long an exhausted server asks to be spared. */ #holdMs = 0;
  /** Since when the connection has been proving itself; null: it was not heard yet. @type {number | null} */
  #wellSinceMs = null;
  /** The wait that nothing shortens. */ #held = { sinceMs: 0, delayMs: 0 };

  /** @param {Timings} timings */
  constructor(timings) {
    this.#timings = timings;
  }

  dialled() {
    this.#wellSinceMs = null;
    this.#held.delayMs = 0;
  }

  /** @param {number} nowMs */
  heard(nowMs) {
    this.#wellSinceMs ??= nowMs;
  }

  /** The server asks to be spared; that holds for the attempts to come. @param {number} nowMs @param {number} holdMs */
  exhausted(nowMs, holdMs) {
    this.#forgive(nowMs);
    this.#holdMs = holdMs;
    this.#wellSinceMs = nowMs + holdMs;
  }

  /** It has failed: what to wait before the next attempt. @param {number} nowMs @param {number} random in [0, 1) */
  delayMs(nowMs, random) {
    this.#forgive(nowMs);
    const delayMs = this.#holdMs + backoffDelayMs(this.#attempt++, random, this.#timings);
    this.#held = { sinceMs: nowMs, delayMs: this.#holdMs && delayMs };
    return delayMs;
  }

  /** What is left of it for an exhausted server, even if the page is shown again. @param {number} nowMs */
  leftMs(nowMs) {
    const waitedMs = Math.max(0, nowMs - this.#held.sinceMs); // a clock that was set back must not stretch the wait
    return this.#held.delayMs - waitedMs;
  }

  forget() {
    this.#attempt = this.#holdMs = 0;
  }

  /** A server that takes connections only to drop them is not hammered: begins anew after a stable one. @param {number} nowMs */
  #forgive(nowMs) {
    if (this.#wellSinceMs !== null && nowMs - this.#wellSinceMs >= this.#timings.stableAfterMs) this.forget();
  }
}

class Socket {
  /** @type {State} */ #state = "closed";
  /** @type {string | null} */ #clientId = null;
  /** @type {WebSocket | null} */ #socket = null;
  /** The one timer: each state waits for one thing at most. @type {unknown} */ #timer = null;
  /** @type {Watch} */ #watch = { sinceMs: 0, pings: 0 };
  /** @type {{ type: "ws:view", view: string } | null} */ #view = null;
  /** @type {Map<string, Set<{ listener: (event: any) => void }>>} */ #listeners = new Map();
  /** @type {Map<number, Request>} */ #requests = new Map();
  #lastId = 0;
  #connections = 0;
  #address;
  #options;
  #backoff;

  /** @param {Fresh<string | URL>} url @param {SocketOptions} options */
  constructor(url, options) {
    this.#address = url;
    this.#options = readOptions(options);
    this.#backoff = new Backoff(this.#options);
    this.url = typeof url === "function" ? "" : resolveUrl(url, location.href);
    this.#dial();
  }

  get state() {
    return this.#state;
  }

  get clientId() {
    return this.#clientId;
  }

  /** @param {string} type @param {(event: any) => void} listener @returns {() => void} takes the listener off again */
  on(type, listener) {
    const entry = { listener };
    const entries = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, entries.add(entry));
    return () => void entries.delete(entry);
  }

  /**
   * Sends now or not at all: false when there is no connection. Nothing is kept for later, because nobody would learn
   * whether a message sent late was still wanted or arrived; request() waits and tells.
   * @param {unknown} data text and binary go as they are, everything else as JSON
   */
  send(data) {
    const frame = encode(data);
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(frame);
    return true;
  }

  /** Tells a stream that this side has said all; what the server answers still arrives. Sends now or not at all. */
  end() {
    return this.send({ type: "ws:end" });
  }

  /** Chooses the view in which objects arrive; each later connection begins with it. Whether it was sent. @param {string} name */
  view(name) {
    this.#view = { type: "ws:view", view: name };
    return this.send(this.#view);
  }

  /**
   * Waits for a connection if there is none, is sent once, and rejects with a RequestError when the server says so,
   * when the connection ends before the reply (it may have been carried out) or after `timeoutMs` in all.
   * @param {string} type @param {object} [fields] @param {{ timeoutMs?: number }} [options] @returns {Promise<any>}
   */
  request(type, fields = {}, { timeoutMs = 10_000 } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#state === "closed") throw new RequestError("closed", `"${type}" was not sent: the socket is closed.`);
      const id = ++this.#lastId;
      const frame = JSON.stringify({ ...fields, type, id });
      const expire = () => this.#take(id)?.reject(new RequestError("timeout", `"${type}" had no reply within ${timeoutMs} ms.`));
      this.#requests.set(id, { frame, timer: this.#after(timeoutMs, expire), resolve, reject });
      this.#sendRequests();
    });
  }

  /** Ends the connection for good; reconnect() begins again. @param {number} [code] 1000 or 3000 to 4999 @param {string} [reason] */
  close(code = 1000, reason = "") {
    if (this.#socket) this.#leave({ code, reason, wasClean: true }, null);
    else if (this.#state === "waiting") this.#finish();
  }

  /** Connects at once and afresh, whatever the state. */
  reconnect() {
    this.#backoff.forget();
    if (this.#socket) this.#leave({ code: NORMAL, reason: "reconnect", wasClean: true }, 0);
    else this.#dial();
  }

  #dial() {
    const { protocols, connectWithinMs } = this.#options;
    this.#backoff.dialled();
    if (typeof this.#address === "function" || typeof protocols === "function") this.#openAfresh();
    else this.#open(this.url, protocols);
    this.#enter("dialled", connectWithinMs, () => this.#fail("no connection in time"));
  }

  /** Asks the functions that were given, at each attempt. Until they have answered, another object is in the socket's place. */
  async #openAfresh() {
    const { protocols } = this.#options;
    const standIn = /** @type {any} */ ({ readyState: 0, close() {} });
    this.#socket = standIn;
    await null; // the state changes first
    try {
      const [url, offered] = await Promise.all([fresh(this.#address), fresh(protocols)]);
      if (this.#socket === standIn) this.#open(resolveUrl(url, location.href), offered);
    } catch (error) {
      if (this.#socket === standIn) this.#fail(String(error));
    }
  }

  /** @param {string} url @param {string | string[]} protocols */
  #open(url, protocols) {
    const { WebSocket, binaryType } = this.#options;
    const socket = new WebSocket(url, protocols);
    socket.binaryType = binaryType;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason, wasClean }) =>
      this.#leave({ code, reason, wasClean }, shouldReconnect(code) ? this.#backOffMs() : null);
    this.#socket = socket;
    this.url = url;
  }

  /** There is no connection, but there may be one later. @param {string} reason */
  #fail(reason) {
    this.#leave({ code: ABNORMAL, reason, wasClean: false }, this.#backOffMs());
  }

  #opened() {
    if (this.#view) this.send(this.#view);
    this.#watch = { sinceMs: this.#nowMs(), pings: 0 };
    this.#connections += 1;
    this.#enter("opened", this.#options.pingAfterMs, () => this.#checkSilence());
    this.#emit("ws:open", { reconnected: this.#connections > 1 });
    this.#sendRequests();
  }

  /** The one way out of a connection. @param {Ending} ending @param {number | null} delayMs until the next attempt; null: none */
  #leave(ending, delayMs) {
    const socket = /** @type {WebSocket} */ (this.#socket);
    if (socket.readyState <= OPEN) hangUp(socket, ending);
    socket.onopen = socket.onmessage = socket.onclose = null; // what it still says concerns nobody
    this.#socket = null;
    this.#clientId = null;
    this.#rejectRequests((request) => request.frame === null);
    if (delayMs === null) this.#finish();
    else this.#enter("lost", delayMs, () => this.#dial());
    this.#emit("ws:close", { ...ending, kind: kindOf(ending.code), willReconnect: delayMs !== null, delayMs });
  }

  #finish() {
    this.#rejectRequests(() => true);
    this.#enter("ended", Infinity, () => {});
  }

  /** @param {string} event @param {number} delayMs @param {() => void} then what happens if the state lasts that long */
  #enter(event, delayMs, then) {
    this.#state = nextState(this.#state, event);
    this.#setTimer(delayMs, then);
    const change = this.#state === "closed" ? "removeEventListener" : "addEventListener";
    for (const name of PAGE_EVENTS) globalThis[change](name, this.#pageChanged);
    this.#emit("ws:state", this.#state);
  }

  /** @param {Event} event */
  #pageChanged = ({ type }) => {
    if (type === "pagehide") this.#suspend();
    else if (type !== "visibilitychange" || document.visibilityState === "visible") this.#wake();
  };

  /** An open socket keeps a page out of the back/forward cache, and a frozen page cannot answer pings. */
  #suspend() {
    if (this.#socket) this.#leave({ code: NORMAL, reason: "page hidden", wasClean: true }, Infinity);
    else this.#setTimer(Infinity, () => {});
  }

  /** The page is back or the network is: timers may have stood still, so ask now. */
  #wake() {
    if (this.#state === "waiting") this.#dialWhenAllowed();
    else if (this.#state === "open") this.#checkSilence(0);
  }

  #dialWhenAllowed() {
    const leftMs = this.#backoff.leftMs(this.#nowMs());
    if (leftMs > 0) this.#setTimer(leftMs, () => this.#dial());
    else this.#dial();
  }

  #checkSilence(pingAfterMs = this.#options.pingAfterMs) {
    const { pongWithinMs } = this.#options;
    const { verdict, watch, againInMs } = watchSilence(this.#watch, this.#nowMs(), { pingAfterMs, pongWithinMs });
    if (verdict === "dead") return this.#leave({ code: NO_PONG, reason: "no pong", wasClean: false }, this.#backOffMs());
    this.#watch = watch;
    if (verdict === "ping") this.send({ type: "ws:ping" });
    this.#setTimer(againInMs, () => this.#checkSilence());
  }

  #backOffMs() {
    return this.#backoff.delayMs(this.#nowMs(), this.#options.random());
  }

  /** @param {unknown} data */
  #receive(data) {
    const socket = this.#socket;
    const nowMs = this.#nowMs();
    this.#watch = { sinceMs: nowMs, pings: 0 };
    this.#backoff.heard(nowMs);
    if (typeof data !== "string") return this.#deliverBinary(data);
    for (const message of unpack(parse(data))) {
      if (socket === this.#socket) this.#deliver(message); // a listener may have closed it
    }
  }

  /** @param {unknown} data */
  #deliverBinary(data) {
    this.#emit("ws:binary", data);
    this.#emit("ws:message", data);
  }

  /** @param {any} message */
  #deliver(message) {
    const type = message?.type;
    if (typeof type === "string" && type.startsWith("ws:")) return this.#obey(message);
    if (typeof type === "string") this.#emit(type, message);
    this.#emit("ws:message", message);
  }

  /** Unknown types are a newer server's: not an error. @param {any} message */
  #obey(message) {
    switch (message.type) {
      case "ws:ping":
        return void this.send({ type: "ws:pong" });
      case "ws:welcome":
        return this.#welcomed(message);
      case "ws:reply":
        return this.#take(message.id)?.resolve(message.result);
      case "ws:error":
        return this.#failed(message);
      case "ws:gap":
      case "ws:joined":
      case "ws:left":
        return this.#emit(message.type, message);
    }
  }

  /** @param {any} message */
  #welcomed(message) {
    this.#clientId = typeof message.client === "string" ? message.client : null;
    this.send({ type: "ws:pong" }); // tells the server's heartbeat that this client answers
    this.#emit("ws:welcome", message);
    if (this.#connections > 1) this.#emit("ws:gap", { type: "ws:gap", reason: "reconnected" });
  }

  /** @param {any} message */
  #failed(message) {
    const error = requestError(message);
    const request = this.#take(message.id);
    if (request) return request.reject(error);
    const concernsAll = (message.id ?? null) === null && error.kind === "exhausted";
    if (concernsAll && error.retryAfterMs !== null) this.#backoff.exhausted(this.#nowMs(), error.retryAfterMs);
    this.#emit("ws:error", message);
  }

  #sendRequests() {
    for (const request of this.#requests.values()) {
      if (request.frame !== null && this.send(request.frame)) request.frame = null;
    }
  }

  /** @param {number} id */
  #take(id) {
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    this.#options.clock.clearTimeout(request?.timer);
    return request;
  }

  /** @param {(request: Request) => boolean} which */
  #rejectRequests(which) {
    const ids = [...this.#requests].filter(([, request]) => which(request)).map(([id]) => id);
    for (const id of ids) this.#take(id)?.reject(new RequestError("closed", "The connection ended before the reply."));
  }

  /** @param {string} type @param {unknown} event */
  #emit(type, event) {
    const entries = this.#listeners.get(type) ?? new Set();
    for (const entry of [...entries]) {
      try {
        if (entries.has(entry)) entry.listener(event);
      } catch (error) {
        reportError(error);
      }
    }
  }

  #nowMs() {
    return this.#options.clock.now();
  }

  /** @param {number} delayMs @param {() => void} callback */
  #after(delayMs, callback) {
    return delayMs === Infinity ? null : this.#options.clock.setTimeout(callback, Math.min(delayMs, LONGEST_TIMER_MS));
  }

  /** @param {number} delayMs @param {() => void} callback */
  #setTimer(delayMs, callback) {
    this.#options.clock.clearTimeout(this.#timer);
    this.#timer = this.#after(delayMs, callback);
  }
}

/**
 * Connects, and keeps connected until close(), or until the server closes with a code that says not to come back.
 * @param {Fresh<string | URL>} [url] http(s) or ws(s), relative to the page @param {SocketOptions} [options]
 */
export function connect(url = "/ws/", options = {}) {
  return new Socket(url, options);
}
