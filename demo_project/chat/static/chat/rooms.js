// The list of rooms, the last active one first.

import { element } from "../demo/log.js";
import { ago, titled } from "./words.js";

const REFRESH_MS = 10_000;

export class Rooms {
  #cards = new Map(); // slug -> card
  #seen = new Map(); // slug -> the newest message when the room was last open
  #current = null;
  #list = document.getElementById("rooms");

  constructor() {
    setInterval(() => this.#render(), REFRESH_MS); // "2 min" becomes "3 min"
  }

  show(cards, current) {
    for (const card of cards) {
      this.#keep(card);
      if (!this.#seen.has(card.slug)) this.#seen.set(card.slug, card.last_sequence);
    }
    this.#current = current;
    const { title, topic } = this.#cards.get(current);
    document.getElementById("room-title").textContent = title;
    document.getElementById("topic").textContent = topic;
    this.#render();
  }

  update(card) {
    this.#keep(card);
    this.#render();
  }

  /** Two that are sent at once may come in either order. */
  #keep(card) {
    const known = this.#cards.get(card.slug);
    if (known === undefined || known.last_sequence <= card.last_sequence) this.#cards.set(card.slug, card);
  }

  #render() {
    const newestFirst = (a, b) => Date.parse(b.last_activity) - Date.parse(a.last_activity);
    const focused = document.activeElement?.hash; // what is rendered anew loses the focus
    const cards = [...this.#cards.values()].sort(newestFirst);
    this.#list.replaceChildren(...cards.map((card) => this.#row(card)));
    if (focused) this.#list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  #row(card) {
    const isCurrent = card.slug === this.#current;
    if (isCurrent) this.#seen.set(card.slug, card.last_sequence);
    const unread = card.last_sequence - (this.#seen.get(card.slug) ?? 0);
    const link = element("a", "", "");
    link.href = `#/${card.slug}`;
    if (isCurrent) link.setAttribute("aria-current", "true");
    link.append(element("strong", "", card.title), element("time", "quiet", ago(card.last_activity)), element("span", "preview quiet", preview(card)));
    if (unread > 0) link.append(badge(unread));
    const row = document.createElement("li");
    row.append(link);
    return row;
  }
}

function preview({ author, preview }) {
  return preview ? `${titled(author)}: ${preview}` : "The last message was removed";
}

function badge(unread) {
  const made = element("span", "unread", String(unread));
  made.append(element("span", "unseen", " unread"));
  return made;
}
