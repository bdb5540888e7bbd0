// Who is typing: said every two seconds by those who are, so that silence means that they stopped.

import { listed, titled } from "./words.js";

const FORGOTTEN_MS = 4000;

export class Typists {
  #timers = new Map(); // name -> when it is forgotten
  #line = document.getElementById("typing");

  start(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(() => this.stop(name), FORGOTTEN_MS));
    this.#render();
  }

  stop(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
    this.#render();
  }

  clear() {
    for (const name of [...this.#timers.keys()]) this.stop(name);
  }

  #render() {
    const names = [...this.#timers.keys()].map(titled).sort();
    this.#line.textContent = names.length === 0 ? "" : `${listed(names)} ${names.length === 1 ? "is" : "are"} typing`;
  }
}
