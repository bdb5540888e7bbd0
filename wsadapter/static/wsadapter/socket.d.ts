/**
 * Types of socket.js. A page names its own messages and requests once:
 *
 *     interface Messages { "order.paid": { id: number } }
 *     interface Requests { "chat.say": { fields: { text: string }; result: { at: string } } }
 *     const socket = connect<Messages, Requests>("/ws/");
 *
 * Without them every message is `any`.
 */

/** One value at a time; "waiting" is for the next attempt. */
export type State = "connecting" | "open" | "waiting" | "closed";

/** What to do about a failure: try again, back off and then try again, or do not come back with this. */
export type FailureKind = "transient" | "exhausted" | "fatal";

/** A value, or a function that gives a fresh one for each attempt: tickets run out. */
export type Fresh<T> = T | (() => T | Promise<T>);

/** Durations in milliseconds, from 0; Infinity means never. */
export interface Timings {
  /** The least delay before an attempt (100). */
  backoffFloorMs: number;
  /** The first attempt comes within this delay, each further one within twice the last (500). */
  backoffBaseMs: number;
  /** The longest delay before an attempt (20 000). */
  backoffCapMs: number;
  /**
   * Back-off begins anew after a connection that lasted this long since its first message, and since the end of the
   * time that an exhausted server asked for (5 000).
   */
  stableAfterMs: number;
  /** An attempt that takes longer is given up (20 000). */
  connectWithinMs: number;
  /** A server that was not heard for so long is sent a ping (25 000). */
  pingAfterMs: number;
  /** A server that is not heard within this time of a ping is taken for dead (10 000). */
  pongWithinMs: number;
}

/** What the socket needs of time; replace it in tests that must not wait. */
export interface Clock {
  /** Milliseconds; must go on while the machine sleeps, as Date.now does. */
  now(): number;
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface SocketOptions extends Partial<Timings> {
  /** Subprotocols, as `new WebSocket(url, protocols)` takes them, or a function that gives them for each attempt. */
  protocols?: Fresh<string | string[]>;
  /** What binary messages arrive as ("arraybuffer"). */
  binaryType?: BinaryType;
  /** For tests. */
  WebSocket?: new (url: string, protocols?: string | string[]) => WebSocket;
  /** For tests: a number from 0 to below 1. */
  random?: () => number;
  /** For tests. */
  clock?: Clock;
}

export interface CloseDetail {
  /** 1006 if there was no closing handshake or no connection at all; 3012 if the server fell silent. */
  code: number;
  /** Where a function for the URL or the protocols has failed: with what. */
  reason: string;
  wasClean: boolean;
  /** By the code; null for 1000, where nothing has failed. */
  kind: FailureKind | null;
  willReconnect: boolean;
  /** Until the next attempt; Infinity: when the page is shown again; null: none will follow. */
  delayMs: number | null;
}

export interface ErrorMessage {
  type: "ws:error";
  id: number | null;
  /** invalid_json, invalid, unknown_type, unsupported, internal_error, rate_limited, one of the kinds, or the site's own */
  code: string;
  kind: FailureKind;
  /** Seconds after which it would be taken. Without an `id`, the next attempt after a close waits at least so long. */
  retry_after?: number;
  message: string;
  /** Where in the message, as in "$.text". */
  path?: string;
}

/** Events of the socket itself. No message of an application has a type that begins with "ws:". */
export interface SocketEvents {
  /** The new state. */
  "ws:state": State;
  /** Connected: messages can be sent. */
  "ws:open": { reconnected: boolean };
  /** A connection, or an attempt at one, has ended. */
  "ws:close": CloseDetail;
  /** The server has registered this connection: nothing sent from now on is missed. */
  "ws:welcome": { type: "ws:welcome"; client: string };
  /** Messages may have been missed. The reason is "reconnected" or comes from the server, which may give none. */
  "ws:gap": { type: "ws:gap"; reason?: string };
  "ws:joined": { type: "ws:joined"; group: string; user: string | null; client: string; info: unknown };
  "ws:left": { type: "ws:left"; group: string; user: string | null; client: string | null };
  /** The server could not take a message that was not a waiting request. */
  "ws:error": ErrorMessage;
  /** Every message of the application: parsed JSON, else text, else binary. */
  "ws:message": any;
  /** Binary messages alone. */
  "ws:binary": ArrayBuffer | Blob;
}

/** For each type of request what it takes and what it gives. */
export type RequestMap<Requests> = { [Type in keyof Requests]: { fields: object; result: unknown } };

export interface RequestOptions {
  /** From the call, waiting for a connection included (10 000). */
  timeoutMs?: number;
}

type RequestArguments<Fields> = {} extends Fields
  ? [fields?: Fields, options?: RequestOptions]
  : [fields: Fields, options?: RequestOptions];

export interface Socket<
  Messages extends object = Record<string, any>,
  Requests extends RequestMap<Requests> = Record<string, { fields: any; result: any }>,
> {
  /** Of the newest attempt; "" until a function has given one. */
  readonly url: string;
  readonly state: State;
  /** This connection's id, from the welcome until the connection ends. Good for an X-Client-Id header. */
  readonly clientId: string | null;

  /** Calls the listener with each event or message of that type; the returned function takes it off again. */
  on<Name extends keyof SocketEvents>(type: Name, listener: (event: SocketEvents[Name]) => void): () => void;
  on<Type extends keyof Messages & string>(
    type: Type,
    listener: (message: { type: Type } & Messages[Type]) => void,
  ): () => void;

  /**
   * Sends now or not at all: false when there is no connection. Strings and binary go as they are, the rest as JSON.
   * @throws TypeError if the data cannot be said in JSON
   */
  send(data: unknown): boolean;

  /** Tells a stream that this side has said all; what the server answers still arrives. Returns what send() returns. */
  end(): boolean;

  /**
   * Chooses the view in which objects arrive. Each later connection begins with it, as the server forgets it.
   * Returns whether it was sent now.
   */
  view(name: string): boolean;

  /**
   * Sent once, as soon as there is a connection; resolves with the server's result.
   * Rejects with a RequestError: the server's code, "timeout", or "closed" when the connection ended before the reply.
   */
  request<Type extends keyof Requests & string>(
    type: Type,
    ...rest: RequestArguments<Requests[Type]["fields"]>
  ): Promise<Requests[Type]["result"]>;

  /** Ends the connection for good. The code is 1000 (the default) or from 3000 to 4999. */
  close(code?: number, reason?: string): void;

  /** Connects at once and afresh, whatever the state. */
  reconnect(): void;
}

export class RequestError extends Error {
  constructor(
    code: string,
    message: string,
    path?: string | null,
    kind?: FailureKind,
    retryAfterMs?: number | null,
  );
  readonly name: "RequestError";
  /** invalid, unknown_type, internal_error …, or "timeout" or "closed" */
  readonly code: string;
  /** Where in the request, as in "$.text". */
  readonly path: string | null;
  /** "transient" for "timeout" and "closed"; "fatal" if the server does not say. */
  readonly kind: FailureKind;
  /** Milliseconds after which the server would take it, where it says so. */
  readonly retryAfterMs: number | null;
}

/**
 * Whether every message of a sequence has come. A group's goes on after a reconnect, so that one Sequence sees what was
 * missed meanwhile; a stream's begins anew with each connection, and so should its Sequence.
 */
export class Sequence {
  /**
   * Judges the next message by its `sequence`. The first one, and one without a number, leave nothing out.
   * `missed`: how many between it and the newest before it have not come. `stale`: it is no newer than that one, a
   * repeat or late; one that is late was missed before.
   */
  take(message: unknown): { missed: number; stale: boolean };
}

/**
 * Connects, and keeps connected until close(), or until the server closes with a code that says not to come back.
 * @param url http(s) or ws(s), relative to the page; "/ws/" if left out. A function is asked at each attempt, which has
 *   failed if it throws or rejects.
 */
export function connect<
  Messages extends object = Record<string, any>,
  Requests extends RequestMap<Requests> = Record<string, { fields: any; result: any }>,
>(url?: Fresh<string | URL>, options?: SocketOptions): Socket<Messages, Requests>;

/** Whether a close code asks the client to come back. */
export function shouldReconnect(code: number): boolean;

/** What to do about a connection's end, by its close code; null for 1000, where nothing has failed. */
export function kindOf(code: number): FailureKind | null;

/** The delay before attempt `attempt` (from 0) for a random number from 0 to below 1. */
export function backoffDelayMs(attempt: number, random: number, timings?: Partial<Timings>): number;

/** Where an event leads. @throws Error if it cannot happen in that state */
export function nextState(state: State, event: "dialled" | "opened" | "lost" | "ended"): State;

/** When the server was last heard or, with unanswered pings, last asked. */
export interface Watch {
  sinceMs: number;
  pings: number;
}

/** What to do about a silent server, and when to ask again. */
export function watchSilence(
  watch: Watch,
  nowMs: number,
  timings: Pick<Timings, "pingAfterMs" | "pongWithinMs">,
): { verdict: "wait" | "ping" | "dead"; watch: Watch; againInMs: number };

/** "/ws/" on https://shop.example is "wss://shop.example/ws/". */
export function resolveUrl(url: string | URL, base: string): string;
