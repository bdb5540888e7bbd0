// What Celery beat publishes, and the proof that each tick arrives once in each pane.

import { Sparkline } from "./sparkline.js";

export class Statistics {
  #element = document.getElementById("statistics");
  #seen = new Set(); // "pane tick"
  #ticks = new Set();
  #repeated = 0;
  #line = document.getElementById("commands-spark") && new Sparkline("commands-spark", { points: 40 });

  arrived(pane, frame) {
    if (frame.type !== "statistics") return;
    const key = `${pane.name} ${frame.tick}`;
    if (this.#seen.has(key)) this.#repeated += 1;
    this.#seen.add(key);
    if (!this.#ticks.has(frame.tick)) this.#show(frame);
    this.#ticks.add(frame.tick);
    this.#element.dataset.ticks = this.#ticks.size;
    this.#element.dataset.repeated = this.#repeated;
    const repeated = this.#repeated === 0 ? "none arrived twice" : `${this.#repeated} arrived twice`;
    text("tick-outcome", `${repeated[0].toUpperCase()}${repeated.slice(1)}, of ${this.#ticks.size}.`);
    text("ticks", `${this.#ticks.size} ${this.#ticks.size === 1 ? "tick" : "ticks"}, ${repeated}`);
  }

  #show(frame) {
    text("load", frame.load.toFixed(2));
    text("commands", frame.redis_commands_per_second);
    text("memory", `${frame.redis_megabytes} MB`);
    this.#line.add(frame.redis_commands_per_second);
  }
}

function text(id, value) {
  document.getElementById(id).textContent = value;
}
