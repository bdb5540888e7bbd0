// A periodic endpoint: the server looks every second, and sends only what differs from the last time.

import { connect } from "wsadapter";
import { addRaw, element } from "./log.js";
import { Sparkline } from "./sparkline.js";

const EVERY_MS = 1000; // the endpoint's interval
const BEATS = 60;

export class Status {
  #messages = 0;
  #connectedAtMs = null;
  #last = null; // the newest status
  #isNews = false; // whether it came since the last beat
  #line = new Sparkline("load-spark", { points: BEATS });

  constructor() {
    const socket = connect("/ws/status/");
    socket.on("ws:state", (state) => this.#showState(state));
    socket.on("status", (status) => this.#arrived(status));
    byId("beats").append(...Array.from({ length: BEATS }, () => element("i", "", "")));
    setInterval(() => this.#beat(), EVERY_MS);
  }

  #showState(state) {
    text("status-state", state);
    byId("status-state").dataset.state = state;
    if (state === "open") this.#messages = 0;
    if (state !== "open") this.#connectedAtMs = null;
  }

  #arrived(status) {
    this.#messages += 1;
    this.#connectedAtMs ??= performance.now();
    this.#last = status;
    this.#isNews = true;
    text("online", status.online ?? "–"); // Redis is away
    text("people", status.people ?? "–");
    text("load", status.load.toFixed(1));
    addRaw(byId("status-log"), JSON.stringify(status));
    this.#count();
  }

  /** One bar to the right; the line goes on at the last value, which still holds. */
  #beat() {
    if (this.#connectedAtMs === null) return;
    byId("beats").firstChild.remove();
    byId("beats").append(element("i", this.#isNews ? "news" : "same", ""));
    this.#isNews = false;
    this.#line.add(this.#last.load);
    this.#count();
  }

  #count() {
    const looks = 1 + Math.round((performance.now() - this.#connectedAtMs) / EVERY_MS);
    const messages = this.#messages;
    byId("sent").dataset.looks = looks;
    byId("sent").dataset.messages = messages;
    text("sent", `${messages} ${messages === 1 ? "message" : "messages"} in ${looks} looks: what is equal is not sent again.`);
  }
}

function text(id, value) {
  byId(id).textContent = value;
}

function byId(id) {
  return document.getElementById(id);
}
