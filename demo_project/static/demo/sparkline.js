// A line of the last values; what it says is also there in figures.

const WIDTH = 100;
const HEIGHT = 24;

export class Sparkline {
  #values = [];

  constructor(id, { points = 60 } = {}) {
    this.svg = document.getElementById(id);
    this.points = points;
    this.line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    this.svg.append(this.line);
  }

  add(value) {
    this.#values = [...this.#values, value].slice(-this.points);
    const highest = Math.max(...this.#values, 1);
    const step = WIDTH / (this.points - 1);
    const start = WIDTH - (this.#values.length - 1) * step;
    const height = (each) => HEIGHT - 1 - (each / highest) * (HEIGHT - 3);
    const points = this.#values.map((each, index) => `${(start + index * step).toFixed(1)},${height(each).toFixed(1)}`);
    this.line.setAttribute("points", points.join(" "));
  }
}
