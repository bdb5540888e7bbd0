// A file over a WebSocket: frames at the pace at which they are taken, and what the server says meanwhile.

import { resolveUrl } from "wsadapter";
import { addRaw } from "./log.js";

const FRAME_BYTES = 64 * 1024; // the server's MAX_MESSAGE_SIZE
const MIB = 1024 * 1024; // read at once: to read each frame by itself would be slow
const MAX_UNSENT_BYTES = 4 * MIB;
const PAUSE_MS = 10;
const CANCELLED = 4500; // a code of one's own: 1000 would be the end of a whole stream

async function send(file, socket) {
  const isOpen = () => socket.readyState === WebSocket.OPEN;
  for (let read = 0; read < file.size; read += MIB) {
    const block = await file.slice(read, read + MIB).arrayBuffer();
    for (let sent = 0; sent < block.byteLength; sent += FRAME_BYTES) {
      while (isOpen() && socket.bufferedAmount > MAX_UNSENT_BYTES) await pause(PAUSE_MS);
      if (!isOpen()) return;
      socket.send(block.slice(sent, sent + FRAME_BYTES));
    }
  }
  socket.send('{"type": "ws:end"}');
}

export class Upload {
  #socket = null; // while a file is on its way
  #file = null;
  #startedAtMs = 0;

  constructor() {
    byId("send-code").textContent = send.toString(); // the very function that runs
    byId("file").addEventListener("change", ({ target }) => this.#start(target.files[0]));
    byId("cancel").addEventListener("click", () => this.#leave("cancelled"));
    this.#takeDrops(document.querySelector(".drop"));
  }

  #takeDrops(area) {
    const hover = (event) => {
      event.preventDefault(); // else the browser opens the file itself
      area.classList.toggle("over", event.type === "dragover");
    };
    for (const type of ["dragover", "dragleave", "drop"]) area.addEventListener(type, hover);
    area.addEventListener("drop", ({ dataTransfer }) => this.#start(dataTransfer.files[0]));
  }

  #start(file) {
    if (file === undefined || this.#socket !== null) return;
    this.#file = file;
    this.#startedAtMs = performance.now();
    const socket = new WebSocket(resolveUrl(`/ws/upload/?size=${file.size}`, location.href));
    socket.onopen = () => send(file, socket).catch((error) => this.#leave("failed", error.message));
    socket.onmessage = ({ data }) => this.#told(data);
    socket.onclose = ({ code, reason }) => this.#end("failed", [`Closed with ${code}`, reason].filter(Boolean).join(": "));
    this.#socket = socket;
    this.#showStart();
  }

  #told(data) {
    const message = JSON.parse(data);
    addRaw(byId("upload-log"), data);
    if (message.type === "upload.progress") this.#showProgress(message.bytes);
    if (message.type === "upload.done") this.#done(message);
  }

  async #done({ bytes, sha256 }) {
    const file = this.#file;
    this.#showProgress(bytes);
    byId("percent").textContent = "100 %";
    byId("upload-bar").value = 100;
    byId("sha256").textContent = sha256;
    this.#end("done");
    byId("verdict").textContent = "Comparing …";
    const verdict = await compare(file, sha256);
    if (this.#file === file) byId("verdict").textContent = verdict;
  }

  /** Hangs up; the server's `finally` runs. */
  #leave(state, why = "") {
    this.#socket?.close(CANCELLED, state);
    this.#end(state, why);
  }

  #end(state, why = "") {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null; // what it still says concerns nobody
    this.#socket = null;
    this.#showState(state);
    if (why) byId("speed").textContent = why;
  }

  #showStart() {
    this.#showState("uploading");
    byId("upload-log").replaceChildren();
    byId("file-name").textContent = this.#file.name;
    byId("sha256").textContent = byId("verdict").textContent = "–";
    this.#showProgress(0);
  }

  #showProgress(bytes) {
    const percent = (100 * bytes) / Math.max(this.#file.size, 1);
    const seconds = (performance.now() - this.#startedAtMs) / 1000;
    const speed = `${inUnits(bytes / seconds)}/s`;
    byId("upload-bar").value = percent;
    byId("percent").textContent = `${Math.floor(percent)} %`;
    byId("speed").textContent = `${inUnits(bytes)} of ${inUnits(this.#file.size)}, ${speed}`;
  }

  #showState(state) {
    byId("upload-state").textContent = state;
    byId("upload-state").dataset.state = { done: "open", failed: "closed" }[state] ?? state;
    byId("cancel").disabled = state !== "uploading";
    byId("file").disabled = state === "uploading";
    byId("file").value = ""; // so that the same file can be chosen again
  }
}

async function compare(file, sha256) {
  if (!crypto.subtle) return "not computed: browsers do so on https and localhost only";
  try {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    const own = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return own === sha256 ? "✓ the same" : `✗ another one: ${own}`;
  } catch (error) {
    return `not computed: ${error.message}`;
  }
}

function inUnits(bytes) {
  return bytes < MIB ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / MIB).toFixed(1)} MiB`;
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function byId(id) {
  return document.getElementById(id);
}
