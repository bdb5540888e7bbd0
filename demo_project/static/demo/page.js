// The page: two panes, the buttons, the figures, and a bare socket.

import { Actions } from "./actions.js";
import { openBare } from "./bare.js";
import { Pane } from "./pane.js";
import { Presence } from "./presence.js";
import { Statistics } from "./statistics.js";

const people = JSON.parse(document.getElementById("people").textContent);
const panes = people.map((person) => new Pane(person));
const actions = new Actions(panes);
const statistics = new Statistics();
const presence = new Presence(people);

for (const pane of panes) {
  pane.onframe = (frame) => {
    actions.arrived(pane.title, frame);
    statistics.arrived(pane, frame);
  };
  pane.onmove = showTwoProcesses;
}
openBare((frame) => actions.arrived("bare socket", frame));
presence.start();

// The kernel gives a new connection to either server process. While the page loads, the second pane asks again when it
// got the first one's process, so that there are two to see.
let triesLeft = document.querySelector("main").hasAttribute("data-supervised") ? 8 : 0;
function showTwoProcesses() {
  const [first, second] = panes;
  if (first.process === null || second.process === null) return;
  if (first.process !== second.process) triesLeft = 0;
  else if (triesLeft-- > 0) second.comeAgain();
}
