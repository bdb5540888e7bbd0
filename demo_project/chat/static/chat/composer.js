// The box at the bottom: what is said, and that something is about to be.

const TYPING_EVERY_MS = 2000;

export class Composer {
  #socket;
  #onsaid;
  #form = document.getElementById("say");
  #input = document.getElementById("text");
  #trouble = document.getElementById("trouble");
  #toldAtMs = -TYPING_EVERY_MS;

  constructor(socket, onsaid) {
    this.#socket = socket;
    this.#onsaid = onsaid;
    this.#input.addEventListener("input", () => this.#type());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say(this.#input.value);
    });
  }

  #type() {
    this.#trouble.textContent = "";
    const now = performance.now();
    if (!this.#input.value.trim() || now - this.#toldAtMs < TYPING_EVERY_MS) return;
    this.#toldAtMs = now;
    this.#socket.send({ type: "chat.typing" });
  }

  async #say(text) {
    if (!text.trim()) return;
    this.#form.reset();
    this.#toldAtMs = -TYPING_EVERY_MS;
    this.#trouble.textContent = "";
    try {
      this.#onsaid(await this.#socket.request("chat.say", { text }));
    } catch (error) {
      this.#trouble.textContent = excuse(error);
      this.#input.value ||= text; // to be sent again
    }
  }
}

function excuse({ code, message, retryAfterMs }) {
  if (code === "rate_limited") return `That was fast. Try again in ${Math.max(1, Math.ceil((retryAfterMs ?? 0) / 1000))} s.`;
  if (code === "closed") return "The connection was lost. Was it said? Look, then send again.";
  return `Not said: ${message}`;
}
