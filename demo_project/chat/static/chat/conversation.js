// What is said in the room that is open, in the order of the numbers that the database gave.

import { Sequence } from "wsadapter";
import { element } from "../demo/log.js";
import { clock, titled } from "./words.js";

const NEAR_PX = 80;

export class Conversation {
  room = null;
  #socket;
  #me;
  #lines = new Map(); // sequence -> line
  #removals = new Map(); // sequence -> moderator; what is urgent may arrive before the line itself
  #sequence = new Sequence();
  #log = document.getElementById("lines");
  #list = this.#log.querySelector("ol");
  #earlier = document.getElementById("earlier");

  constructor(socket, me) {
    this.#socket = socket;
    this.#me = me;
    this.#earlier.addEventListener("click", () => this.#lookBack());
  }

  /** Lines of the room may come from now on, the first of them before its history. */
  begin(room) {
    this.room = room;
    this.#lines.clear();
    this.#removals.clear();
    this.#sequence = new Sequence();
    this.#list.replaceChildren();
    this.#earlier.hidden = true;
  }

  /** The newest page of the room: what is here stays, unless there is a gap between the two. */
  show(lines) {
    const newest = Math.max(...this.#lines.keys()); // -Infinity: there is none
    if (lines[0]?.sequence > newest + 1) this.begin(this.room);
    this.#silently(() => this.add(lines));
    this.#offerEarlier();
  }

  add(lines) {
    const wasAtEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_PX;
    for (const line of lines) {
      const { missed } = this.#sequence.take(line);
      if (missed > 0) this.#fill(line.sequence - missed - 1, line.sequence);
    }
    this.#put(lines);
    if (wasAtEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }

  remove({ sequence, by }) {
    this.#removals.set(sequence, by);
    const line = this.#lines.get(sequence);
    if (line !== undefined) this.#put([line]);
  }

  /** Asks for what is missing between two numbers, a page at a time. */
  async #fill(after, before) {
    const lines = await this.#look({ after });
    if (lines.length === 0) return;
    this.#put(lines);
    const newest = lines.at(-1).sequence;
    if (newest < before - 1) await this.#fill(newest, before);
  }

  async #lookBack() {
    this.#earlier.disabled = true;
    const lines = await this.#look({ before: this.#oldest });
    this.#earlier.disabled = false;
    const fromEndPx = this.#log.scrollHeight - this.#log.scrollTop;
    this.#silently(() => this.#put(lines));
    this.#offerEarlier();
    this.#log.scrollTop = this.#log.scrollHeight - fromEndPx; // what was being read stays in its place
  }

  /** What was said before is there to be read, and not to be read out. */
  #silently(change) {
    this.#log.setAttribute("aria-live", "off");
    change();
    setTimeout(() => this.#log.setAttribute("aria-live", "polite"));
  }

  #offerEarlier() {
    this.#earlier.hidden = this.#oldest <= 1;
  }

  get #oldest() {
    return Math.min(...this.#lines.keys());
  }

  /** Some of the history; none of it when the connection was lost, or another room is open by now. */
  async #look(where) {
    const room = this.room;
    const lines = await this.#socket.request("chat.look", where).catch(() => []);
    return room === this.room ? lines : [];
  }

  #put(lines) {
    for (const line of lines) {
      this.#lines.set(line.sequence, line);
      this.#place(this.#row(line), line.sequence);
    }
    this.#group();
  }

  #place(row, sequence) {
    const rows = [...this.#list.children];
    const next = rows.find((each) => Number(each.dataset.sequence) >= sequence);
    if (Number(next?.dataset.sequence) === sequence) next.replaceWith(row);
    else this.#list.insertBefore(row, next ?? null);
  }

  /** Only the first of several lines in a row says who speaks. */
  #group() {
    let author = null;
    for (const row of this.#list.children) {
      row.classList.toggle("goes-on", row.dataset.author === author);
      author = row.dataset.author;
    }
  }

  #row(line) {
    const removedBy = line.removed_by ?? this.#removals.get(line.sequence);
    const row = element("li", `line ${line.author}`, "");
    row.classList.toggle("mine", line.author === this.#me.name);
    row.classList.toggle("removed", Boolean(removedBy));
    Object.assign(row.dataset, { sequence: line.sequence, author: line.author });
    const said = element("div", "said", "");
    said.append(element("p", "text", removedBy ? `Removed by ${titled(removedBy)}` : line.text));
    if (this.#me.moderator && !removedBy) said.append(this.#removeButton(line));
    row.append(this.#heading(line), said);
    return row;
  }

  #heading({ author, sent_at, sequence }) {
    const heading = element("p", "by", "");
    const time = element("time", "", clock(sent_at));
    time.dateTime = sent_at;
    heading.append(element("strong", "", titled(author)), " ", time, " ", element("span", "nth", `#${sequence}`));
    return heading;
  }

  #removeButton({ sequence, author }) {
    const button = element("button", "remove", "✕");
    button.type = "button";
    button.title = "Remove";
    button.setAttribute("aria-label", `Remove number ${sequence}, by ${titled(author)}`);
    button.addEventListener("click", () => this.#askToRemove(sequence, button));
    return button;
  }

  async #askToRemove(sequence, button) {
    button.disabled = true;
    this.#log.focus(); // the button goes; the place stays
    await this.#socket.request("chat.remove", { sequence }).catch(() => (button.disabled = false));
  }
}
