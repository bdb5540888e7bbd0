// The figures: one stream, of which the page chooses the view.

import { connect } from "wsadapter";
import { Chart } from "./chart.js";

export class Figures {
  #views = document.getElementById("views");
  #fields = document.getElementById("fields");
  #chart = new Chart(document.getElementById("chart"));
  #socket = connect("/ws/chat/analytics/?view=total");

  constructor() {
    this.#views.addEventListener("change", ({ target }) => this.#socket.view(target.value));
    this.#socket.on("chat.figures", (figures) => this.#show(figures));
  }

  /** What has arrived says itself which view it is: a view is a choice of fields. */
  #show({ type, ...figures }) {
    this.#fields.textContent = Object.keys(figures).join(", ");
    if (figures.rooms) this.#chart.bars(figures.rooms);
    else if (figures.minutes) this.#chart.columns(figures.minutes);
    else this.#chart.total(figures);
  }
}
