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
 *   ws:close    { code, reason, wasClean, willReconnect, delayMs }: a connection, or an attempt at one, has ended
 *   ws:welcome  { type, client }: registered; nothing sent from now on is missed
 *   ws:gap      messages may have been missed (also after each reconnect, once welcomed): load the page's data again
 *   ws:error    { code, message, … }: the server could not take a message that was not a request
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
 * @typedef {{ code: number, reason: string, wasClean: boolean }} Ending
 * @typedef {{ frame: string | null, timer: unknown, resolve: (result: any) => void, reject: (error: Error) => void }} Request
 */

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
const NO_PONG = 3012;
const ABNORMAL = 1006;
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

  /** @param {string} code @param {string} message @param {string | null} path */
  constructor(code, message, path = null) {
    super(message);
    this.code = code;
    this.path = path;
  }
}

class Socket {
  /** @type {State} */ #state = "closed";
  /** @type {string | null} */ #clientId = null;
  /** @type {WebSocket | null} */ #socket = null;
  /** The one timer: each state waits for one thing at most. @type {unknown} */ #timer = null;
  /** @type {Watch} */ #watch = { sinceMs: 0, pings: 0 };
  /** @type {number | null} */ #firstHeardAtMs = null;
  /** @type {Map<string, Set<{ listener: (event: any) => void }>>} */ #listeners = new Map();
  /** @type {Map<number, Request>} */ #requests = new Map();
  #lastId = 0;
  #attempt = 0;
  #connections = 0;
  #options;

  /** @param {string} url @param {SocketOptions} options */
  constructor(url, options) {
    this.url = url;
    this.#options = readOptions(options);
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
    else if (this.#state === "waiting") this.#end();
  }

  /** Connects at once and afresh, whatever the state. */
  reconnect() {
    this.#attempt = 0;
    if (this.#socket) this.#leave({ code: 1000, reason: "reconnect", wasClean: true }, 0);
    else this.#dial();
  }

  #dial() {
    const { WebSocket, protocols, binaryType, connectWithinMs } = this.#options;
    const socket = new WebSocket(this.url, protocols);
    socket.binaryType = binaryType;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason, wasClean }) =>
      this.#leave({ code, reason, wasClean }, shouldReconnect(code) ? this.#backOffMs() : null);
    this.#socket = socket;
    this.#firstHeardAtMs = null;
    const giveUp = () => this.#leave({ code: ABNORMAL, reason: "no connection in time", wasClean: false }, this.#backOffMs());
    this.#enter("dialled", connectWithinMs, giveUp);
  }

  #opened() {
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
    if (delayMs === null) this.#end();
    else this.#enter("lost", delayMs, () => this.#dial());
    this.#emit("ws:close", { ...ending, willReconnect: delayMs !== null, delayMs });
  }

  #end() {
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
    if (this.#socket) this.#leave({ code: 1000, reason: "page hidden", wasClean: true }, Infinity);
    else this.#setTimer(Infinity, () => {});
  }

  /** The page is back or the network is: timers may have stood still, so ask now. */
  #wake() {
    if (this.#state === "waiting") this.#dial();
    else if (this.#state === "open") this.#checkSilence(0);
  }

  #checkSilence(pingAfterMs = this.#options.pingAfterMs) {
    const { pongWithinMs } = this.#options;
    const { verdict, watch, againInMs } = watchSilence(this.#watch, this.#nowMs(), { pingAfterMs, pongWithinMs });
    if (verdict === "dead") return this.#leave({ code: NO_PONG, reason: "no pong", wasClean: false }, this.#backOffMs());
    this.#watch = watch;
    if (verdict === "ping") this.send({ type: "ws:ping" });
    this.#setTimer(againInMs, () => this.#checkSilence());
  }

  /** A server that takes connections only to drop them is not hammered: back-off starts anew after a stable connection. */
  #backOffMs() {
    const stable = this.#firstHeardAtMs !== null && this.#nowMs() - this.#firstHeardAtMs >= this.#options.stableAfterMs;
    if (stable) this.#attempt = 0;
    return backoffDelayMs(this.#attempt++, this.#options.random(), this.#options);
  }

  /** @param {unknown} data */
  #receive(data) {
    const socket = this.#socket;
    const nowMs = this.#nowMs();
    this.#watch = { sinceMs: nowMs, pings: 0 };
    this.#firstHeardAtMs ??= nowMs;
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
        return this.#emit("ws:gap", message);
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
    const request = this.#take(message.id);
    if (!request) return this.#emit("ws:error", message);
    request.reject(new RequestError(String(message.code), String(message.message), message.path));
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
 * @param {string | URL} [url] http(s) or ws(s), relative to the page @param {SocketOptions} [options]
 */
export function connect(url = "/ws/", options = {}) {
  return new Socket(resolveUrl(url, location.href), options);
}
