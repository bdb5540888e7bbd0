// How far a flood is, and where the urgent message overtook it.

const READING_MS = 2; // for each message, as a slow telephone would take

export class Flood {
  #spam = null; // the line whose removal is awaited
  #received = 0;
  #sent = 0;
  #panel = document.getElementById("flood");
  #button = document.getElementById("flood-start");
  #bar = document.getElementById("flood-bar");
  #flag = document.getElementById("flood-flag");
  #outcome = document.getElementById("flood-outcome");

  constructor(socket) {
    this.#button.addEventListener("click", () => this.#start(socket));
    socket.on("chat.noise", (noise) => this.#arrived(noise));
    socket.on("chat.removed", ({ sequence }) => sequence === this.#spam && this.#overtaken());
    socket.on("ws:close", () => this.#end());
  }

  async #start(socket) {
    this.#button.disabled = true;
    this.#flag.hidden = true;
    this.#show(0, 1);
    delete this.#panel.dataset.overtaken;
    this.#say("It begins …");
    try {
      await socket.request("chat.flood");
    } catch (error) {
      this.#say(error.code === "rate_limited" ? "The last one has hardly run off. Wait a few seconds." : error.message);
      this.#end();
    }
  }

  #arrived({ number, of, spam }) {
    readSlowly();
    this.#spam = spam;
    this.#show(number, of);
    if (number === of) this.#end();
  }

  #show(received, sent) {
    this.#received = received;
    this.#sent = sent;
    this.#bar.style.width = percent(received, sent);
    this.#panel.dataset.received = received;
  }

  #overtaken() {
    this.#spam = null;
    this.#flag.hidden = false;
    this.#flag.style.left = percent(this.#received, this.#sent);
    const overtaken = this.#sent - this.#received;
    this.#panel.dataset.overtaken = overtaken;
    this.#say(`“Removed” was sent after all ${this.#sent}. It arrived after ${this.#received}: ${overtaken} were overtaken.`);
  }

  #end() {
    this.#button.disabled = false;
  }

  #say(text) {
    this.#outcome.textContent = text;
  }
}

function readSlowly() {
  const untilMs = performance.now() + READING_MS;
  while (performance.now() < untilMs);
}

function percent(part, whole) {
  return `${(100 * part) / whole}%`;
}
