// The third panel: a WebSocket as the browser gives it.

import { addRaw } from "./log.js";

function bare(show) {
  const socket = new WebSocket(`ws://${location.host}/ws/`);
  socket.onmessage = (event) => show(event.data);
  socket.onclose = (event) => show(`closed: ${event.code}`);
  return socket;
}

export function openBare(onframe) {
  const byId = (id) => document.getElementById(id);
  const log = byId("bare-log");
  byId("bare-code").textContent = bare.toString(); // the very function that runs
  let socket = null;

  const show = (data) => {
    addRaw(log, data);
    showState();
    if (data.startsWith("{")) onframe(JSON.parse(data));
  };
  const showState = () => {
    const open = socket.readyState === WebSocket.OPEN;
    byId("bare-state").textContent = open ? "open" : "closed, and stays so";
    byId("bare-state").dataset.state = open ? "open" : "closed";
  };

  byId("bare-open").addEventListener("click", () => {
    socket.close();
    socket = bare(show);
  });
  byId("bare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket.readyState === WebSocket.OPEN) socket.send(byId("bare-text").value);
    else show("not sent: the socket is closed");
  });
  socket = bare(show);
}
