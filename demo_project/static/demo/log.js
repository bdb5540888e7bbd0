// A log of frames, the newest first: time, origin, what, and how long after the click.

import { elapsed } from "./clicks.js";

const ROWS = 80;
const RAW_ROWS = 40;

export class FrameLog {
  #run = null; // the newest row while the same periodic message keeps coming

  constructor(list) {
    this.list = list;
  }

  clear() {
    this.list.replaceChildren();
    this.#run = null;
  }

  addFrame(frame) {
    if (frame.type === "statistics" || frame.type === "progress") this.#repeat(frame);
    else this.add(frame.origin ?? "?", describe(frame), elapsed(frame.click));
  }

  add(origin, text, afterMs = null) {
    this.#run = null;
    const what = element("span", "what", text);
    const after = element("span", "after", afterMs === null ? "" : `${afterMs.toFixed(0)} ms`);
    const row = document.createElement("li");
    row.append(element("time", "", timeOfDay()), element("span", `origin ${origin}`, origin), what, after);
    this.list.prepend(row);
    while (this.list.children.length > ROWS) this.list.lastChild.remove();
    return row;
  }

  #repeat(frame) {
    const key = `${frame.type} ${frame.click ?? ""}`;
    const run = this.#run?.key === key ? this.#run : { key, count: 0, row: this.add(frame.origin, "") };
    run.count += 1;
    run.row.querySelector(".what").textContent = `${describe(frame)}${run.count > 1 ? ` ×${run.count}` : ""}`;
    run.row.querySelector("time").textContent = timeOfDay();
    this.#run = run;
  }
}

const WORDS = {
  "to-me": "to self",
  "to-other": "to the other",
  "to-all": "to everyone",
  "to-all-others": "to all others",
  "to-this-tab": "to that tab",
  "roll-back": "rolled back",
  commit: "on commit",
};

function describe(frame) {
  if (frame.type === "statistics") return `statistics, load ${frame.load}`;
  if (frame.type === "progress") return `progress ${frame.percent} %`;
  const from = frame.from[0].toUpperCase() + frame.from.slice(1);
  return `${from} ${WORDS[frame.action]}`;
}

/** A frame as it came, in a list that has the class "raw". */
export function addRaw(list, data) {
  const row = document.createElement("li");
  row.append(element("time", "", timeOfDay()), element("code", "what", data));
  list.prepend(row);
  while (list.children.length > RAW_ROWS) list.lastChild.remove();
}

export function timeOfDay(date = new Date()) {
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Both ends of a client id: it begins with its process. */
export function shortId(id) {
  return id.length > 16 ? `${id.slice(0, 5)}…${id.slice(-8)}` : id;
}

export function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
