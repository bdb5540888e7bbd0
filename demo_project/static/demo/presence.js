// Who is online, asked over plain HTTP once a second: what the store says, not what the sockets believe.

import { element, shortId } from "./log.js";
import { Sparkline } from "./sparkline.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
const SEEN_MS = 10_000;

export class Presence {
  processes = new Map(); // process id -> when it was last seen
  #names;
  #killed = new Set(); // process ids
  #line = new Sparkline("online-spark");
  #supervised = document.querySelector("main").hasAttribute("data-supervised");

  constructor(people) {
    this.#names = new Map(people.map((person) => [String(person.id), person.name]));
    document.addEventListener("killed", ({ detail }) => this.#killed.add(detail));
  }

  async start() {
    await this.#ask();
    setTimeout(() => this.start(), EVERY_MS);
  }

  async #ask() {
    try {
      const response = await fetch("/status/", { signal: AbortSignal.timeout(PATIENCE_MS) });
      this.#show(await response.json());
    } catch {
      this.#away("no answer", "the server does not answer");
    }
  }

  #show(status) {
    this.#saw(status.process);
    if (status.error) this.#away("away", "503; sockets stay open", status.error);
    else this.#present(status);
    this.#showProcesses();
  }

  #present(status) {
    text("online", status.online);
    text("users", status.users);
    text("store", this.#supervised ? "up" : "memory");
    text("store-note", this.#supervised ? "asked once a second" : "in this process's memory");
    this.#mark("open");
    this.#line.add(status.online);
    for (const client of status.clients) this.#saw(number(client.process));
    for (const process of this.#killed) this.processes.delete(process);
    const rows = [...status.clients].sort((a, b) => a.since - b.since).map((client) => this.#row(client));
    document.getElementById("clients").replaceChildren(...rows);
  }

  #away(short, note, error = "") {
    text("store", short);
    text("store-note", note);
    this.#mark("waiting", error);
  }

  /** While nobody can say them, the last figures stay, dimmed. */
  #mark(state, error = "") {
    document.getElementById("store").dataset.state = state;
    document.getElementById("store").title = error;
    document.querySelector(".figures").classList.toggle("stale", state !== "open");
  }

  #row(client) {
    const name = this.#names.get(client.user) ?? "anonymous";
    const person = element("td", "", "");
    person.append(element("span", `who ${name}`, name[0].toUpperCase() + name.slice(1)));
    const id = element("td", "mono", shortId(client.client));
    id.title = client.client;
    const process = number(client.process);
    const row = document.createElement("tr");
    row.append(person, element("td", "mono", process), id, element("td", "mono", age(client.since)));
    if (this.#killed.has(Number(process))) {
      row.className = "killed";
      row.children[1].append(" ", element("span", "tag", "killed"));
    }
    return row;
  }

  #saw(process) {
    this.processes.set(Number(process), Date.now());
  }

  #showProcesses() {
    for (const [process, seenAt] of this.processes) {
      if (Date.now() - seenAt > SEEN_MS) this.processes.delete(process);
    }
    text("processes", this.processes.size);
    text("process-list", [...this.processes.keys()].sort((a, b) => a - b).join(", "));
  }
}

/** "host:4711" is process 4711. */
function number(process) {
  return process.split(":").at(-1);
}

function age(since) {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - since));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
}

function text(id, value) {
  const node = document.getElementById(id);
  if (node.textContent !== String(value)) node.textContent = value;
}
