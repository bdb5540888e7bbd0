// When each button was pressed, so that a frame knows how long it took.

const pressedAtMs = new Map();

export function press() {
  const click = crypto.randomUUID();
  pressedAtMs.set(click, performance.now());
  return click;
}

/** Milliseconds since the press, or null when it was none of this tab's. */
export function elapsed(click) {
  return pressedAtMs.has(click) ? performance.now() - pressedAtMs.get(click) : null;
}
