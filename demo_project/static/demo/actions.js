// The buttons: press, and say in the same card what came of it.

import { elapsed, press } from "./clicks.js";

const NOTHING_MS = 1000;

export class Actions {
  #panes;
  #presses = new Map(); // click -> { card, action, arrivals }

  constructor(panes) {
    this.#panes = panes;
    for (const button of document.querySelectorAll("button[data-action]")) {
      button.addEventListener("click", () => this.#press(button));
    }
  }

  /** A frame arrived somewhere on this page. */
  arrived(where, frame) {
    const pressed = this.#presses.get(frame.click);
    if (frame.type === "progress") this.#progress(where, frame);
    if (pressed === undefined || frame.type !== "note") return;
    const ms = elapsed(frame.click);
    this.#panes.find((pane) => pane.title === where)?.fact("latency", `${ms.toFixed(1)} ms`);
    pressed.arrivals.push(`${where} ${ms.toFixed(0)} ms`);
    this.#show(pressed);
  }

  async #press(button) {
    const { action, person } = button.dataset;
    const [pane, other] = this.#ordered(person);
    const click = press();
    const pressed = { action, pane, card: button.closest(".action"), arrivals: [], answer: "" };
    this.#presses.set(click, pressed);
    this.#say(pressed, action === "kill" ? `Killing process ${pane.process} …` : "Sent …");
    try {
      pressed.answer = action === "kill" ? await kill(pane) : describe(await post(action, pane, { click, other: other.person.id }));
    } catch (error) {
      pressed.answer = error.message;
    }
    this.#show(pressed);
    if (action === "roll-back") setTimeout(() => this.#show(pressed, true), NOTHING_MS);
  }

  #ordered(name) {
    return [...this.#panes].sort((a, b) => (b.name === name) - (a.name === name));
  }

  #show(pressed, late = false) {
    const frames = pressed.arrivals.length ? `Arrived: ${pressed.arrivals.join(", ")}.` : "";
    const nothing = late && !frames ? "Nothing arrived." : "";
    this.#say(pressed, [frames, nothing, pressed.answer].filter(Boolean).join(" "));
  }

  #say(pressed, text) {
    const outcome = pressed.card.querySelector(".outcome");
    outcome.dataset.action = pressed.action;
    outcome.textContent = `As ${pressed.pane.title}. ${text}`;
  }

  #progress(where, { percent }) {
    const name = where.toLowerCase();
    document.getElementById(`bar-${name}`).value = percent;
    document.getElementById(`percent-${name}`).textContent = `${percent} %`;
  }
}

async function post(action, pane, fields) {
  const response = await fetch(`/do/${action}/`, {
    method: "POST",
    headers: { Authorization: `Demo ${pane.person.token}`, "X-Client-Id": pane.socket.clientId ?? "" },
    body: new URLSearchParams(fields),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status}: ${answer.error}`);
  return answer;
}

async function kill(pane) {
  const process = pane.process;
  try {
    return (await pane.socket.request("demo.kill")).reason;
  } catch (error) {
    if (error.code !== "closed") throw error;
    document.dispatchEvent(new CustomEvent("killed", { detail: process }));
    return `Process ${process} is gone; its clients come back to the other one.`;
  }
}

function describe(answer) {
  if (answer.rolled_back) return "The transaction was rolled back.";
  if (answer.committed) return "The transaction is committed.";
  if (answer.queued) return "The task is queued.";
  if (answer.stopped) return "Redis stops now, and is back in five seconds.";
  if (answer.online === true) return "That tab is online.";
  if (answer.online === false) return "That tab is not online.";
  return reach(answer.processes);
}

function reach(processes) {
  if (processes === null || processes === undefined) return "";
  return processes === 1 ? "Reached 1 process." : `Reached ${processes} processes.`;
}
