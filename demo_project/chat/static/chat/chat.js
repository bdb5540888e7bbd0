// The page of the chat: one socket for the talk, another for the figures.

import { connect } from "wsadapter";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Figures } from "./figures.js";
import { Flood } from "./flood.js";
import { showPeople } from "./people.js";
import { Rooms } from "./rooms.js";
import { Typists } from "./typists.js";

const FIRST_ROOM = "lobby";
const AGAIN_MS = 1000;

const me = JSON.parse(document.getElementById("me").textContent);
const socket = connect(`/ws/chat/?token=${encodeURIComponent(me.token)}`);

const rooms = new Rooms();
const typists = new Typists();
const conversation = new Conversation(socket, me);
new Composer(socket, here((line) => conversation.add([line])));
new Flood(socket);
new Figures();

/** Makes a listener deaf for other rooms than the one that is open. */
function here(listener) {
  return (message) => message.room === conversation.room && listener(message);
}

/** The room in the address, as in "#/lobby"; other fragments lead to places of the page. */
function wanted() {
  return location.hash.startsWith("#/") ? location.hash.slice(2) : (conversation.room ?? FIRST_ROOM);
}

/** At the beginning, and whenever something may have been missed. */
async function enter() {
  const room = wanted();
  if (room !== conversation.room) conversation.begin(room);
  try {
    const entered = await socket.request("chat.enter", { room });
    if (room === conversation.room) show(entered);
  } catch (error) {
    if (error.kind === "fatal") location.hash = `#/${FIRST_ROOM}`; // there is no such room
    else if (error.code !== "closed") setTimeout(enter, AGAIN_MS);
  }
}

function show({ room, rooms: cards, people, lines }) {
  rooms.show(cards, room);
  showPeople(people, me);
  typists.clear();
  conversation.show(lines);
}

socket.on("ws:state", (state) => {
  const element = document.getElementById("state");
  element.textContent = element.dataset.state = state;
});
socket.on("ws:welcome", () => enter());
socket.on("ws:gap", ({ reason }) => reason !== "reconnected" && enter());
socket.on("chat.room", (card) => rooms.update(card));
socket.on("chat.line", here((line) => {
  typists.stop(line.author);
  conversation.add([line]);
}));
socket.on("chat.removed", here((removed) => conversation.remove(removed)));
socket.on("chat.typing", here(({ person }) => typists.start(person)));
socket.on("chat.people", here(({ people }) => showPeople(people, me)));
addEventListener("hashchange", () => location.hash.startsWith("#/") && enter());
