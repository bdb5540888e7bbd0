// Three charts, drawn by hand into one SVG of 320 by 150.

const WIDTH = 320;
const HEIGHT = 150;
const POINTS = 60;
const SVG = "http://www.w3.org/2000/svg";

export class Chart {
  #svg;
  #totals = []; // of messages, one a second, while that view was open

  constructor(svg) {
    this.#svg = svg;
  }

  /** Three figures, and a line of how the first one has grown. */
  total({ messages, removed, people }) {
    if (this.#totals.length === 0) this.#totals = Array(POINTS).fill(messages);
    this.#totals = [...this.#totals.slice(1), messages];
    const figures = [[messages, "messages"], [people, "people online"], [removed, "removed"]];
    const texts = figures.flatMap(([figure, name], index) => [
      text(`${figure}`, { x: index * 110, y: 30, class: "figure-text" }),
      text(name, { x: index * 110, y: 48 }),
    ]);
    const summary = figures.map(([figure, name]) => `${figure} ${name}`).join(", ");
    this.#draw("total", summary, [...texts, ...growth(this.#totals)]);
  }

  bars(rooms) {
    const most = Math.max(1, ...rooms.map((room) => room.messages));
    const step = HEIGHT / rooms.length;
    const parts = rooms.flatMap(({ title, messages }, index) => [
      text(title, { x: 0, y: index * step + 12 }),
      text(`${messages}`, { x: WIDTH, y: index * step + 12, class: "value", "text-anchor": "end" }),
      shape("rect", { x: 0, y: index * step + 18, width: WIDTH, height: 8, rx: 4, class: "ground" }),
      shape("rect", { x: 0, y: index * step + 18, width: Math.max(8, (WIDTH * messages) / most), height: 8, rx: 4 }),
    ]);
    this.#draw("by_room", `Messages: ${rooms.map(({ title, messages }) => `${title} ${messages}`).join(", ")}`, parts);
  }

  /** The newest minute is at the right. */
  columns(minutes) {
    const most = Math.max(1, ...minutes);
    const step = WIDTH / minutes.length;
    const floor = HEIGHT - 20;
    const tall = floor - 20;
    const columns = minutes.map((count, index) => {
      const height = Math.max(1.5, (tall * count) / most);
      return shape("rect", { x: index * step + 1, y: floor - height, width: step - 2, height, rx: 1.5, class: count ? "" : "ground" });
    });
    const words = [
      text(`${most} a minute at most`, { x: 0, y: 12 }),
      text(`${minutes.length} min ago`, { x: 0, y: HEIGHT - 4 }),
      text("now", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }),
    ];
    this.#draw("timeline", `Messages in each of the last ${minutes.length} minutes: ${minutes.join(", ")}`, [...columns, ...words]);
  }

  #draw(view, summary, parts) {
    this.#svg.dataset.view = view;
    this.#svg.setAttribute("aria-label", summary);
    this.#svg.replaceChildren(...parts);
  }
}

/** A line at half its height, and what lies below it, as long as nothing grows. */
function growth(totals) {
  const [top, floor] = [66, HEIGHT];
  const [least, most] = [Math.min(...totals), Math.max(...totals)];
  const range = Math.max(most - least, 4);
  const step = WIDTH / (totals.length - 1);
  const height = (total) => floor - ((floor - top) * (total - least + range)) / (2 * range);
  const points = totals.map((total, index) => `${(index * step).toFixed(1)},${height(total).toFixed(1)}`);
  const area = [`0,${floor}`, ...points, `${WIDTH},${floor}`];
  return [shape("polygon", { points: area.join(" "), class: "area" }), shape("polyline", { points: points.join(" ") })];
}

function text(content, attributes) {
  const made = shape("text", attributes);
  made.textContent = content;
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
