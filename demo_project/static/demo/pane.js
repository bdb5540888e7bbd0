// One person: their socket, its state and facts, and the log of what arrived.

import { connect } from "wsadapter";
import { FrameLog, shortId } from "./log.js";

const COUNTDOWN_MS = 100;

export class Pane {
  process = null;
  onframe = () => {};
  onmove = () => {};
  #frames = 0;
  #lostAtMs = null;
  #isNew = true; // nothing of an earlier connection is to be told
  #ticking = null;

  constructor(person) {
    this.person = person;
    this.name = person.name;
    this.title = person.name[0].toUpperCase() + person.name.slice(1);
    this.element = document.getElementById(`pane-${person.name}`);
    this.stateElement = this.element.querySelector(".state");
    this.log = new FrameLog(this.element.querySelector(".log"));
    this.socket = connect(`/ws/?token=${encodeURIComponent(person.token)}`);
    this.element.querySelector("[data-reconnect]").addEventListener("click", () => this.socket.reconnect());
    this.socket.on("ws:state", (state) => this.#showState(state));
    this.socket.on("ws:welcome", (welcome) => this.#welcomed(welcome));
    this.socket.on("ws:close", (detail) => this.#closed(detail));
    this.socket.on("ws:gap", () => this.log.add("wsadapter", "missed something? (ws:gap)"));
    this.socket.on("ws:message", (message) => this.#arrived(message));
  }

  /** Asks for another connection, as if this one had never been. */
  comeAgain() {
    this.process = null;
    this.#isNew = true;
    this.socket.reconnect();
  }

  fact(name, text, title = "") {
    const element = this.element.querySelector(`[data-fact="${name}"]`);
    element.textContent = text;
    element.title = title;
  }

  #showState(state) {
    clearInterval(this.#ticking);
    this.stateElement.dataset.state = state;
    this.stateElement.textContent = state;
  }

  #welcomed({ client }) {
    this.fact("client", shortId(client), client);
    this.element.dataset.client = client;
  }

  #closed({ code, reason, willReconnect, delayMs }) {
    this.process = null;
    this.#lostAtMs ??= performance.now();
    this.fact("process", "–");
    this.fact("client", "–");
    const why = reason ? `${code} ${reason}` : `${code}`;
    this.log.add("socket", willReconnect ? `closed (${why}), next try in ${seconds(delayMs)}` : `closed (${why})`);
    if (willReconnect) this.#countDown(performance.now() + delayMs);
  }

  #countDown(untilMs) {
    clearInterval(this.#ticking);
    const show = () => {
      if (this.socket.state !== "waiting") return;
      this.stateElement.textContent = `waiting ${seconds(Math.max(0, untilMs - performance.now()))}`;
    };
    show();
    this.#ticking = setInterval(show, COUNTDOWN_MS);
  }

  #arrived(message) {
    this.#frames += 1;
    this.fact("frames", this.#frames);
    if (message.type === "hello") this.#moved(message);
    else this.log.addFrame(message);
    this.onframe(message);
  }

  #moved({ process, user }) {
    this.process = process;
    this.fact("process", process);
    this.element.dataset.process = process;
    if (this.#isNew) {
      this.log.clear();
      this.#lostAtMs = null;
      this.#isNew = false;
    }
    const after = this.#lostAtMs === null ? "" : `, back after ${seconds(performance.now() - this.#lostAtMs)}`;
    this.log.add("socket", `open on ${process}${after}`);
    this.#lostAtMs = null;
    if (user !== String(this.person.id)) this.log.add("socket", "this page is from an earlier run of the demo: reload it");
    this.onmove();
  }
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
