/**
 * The admin's page of connections updates itself.
 *
 * The page comes with its rows. From then on this module tells the server what the page shows, and is told what is new
 * (`look`) and how the connections are doing (`reports`). What clients have chosen, such as ids and paths, is hostile:
 * it only ever becomes text, a value or a parameter of a URL.
 */

import { connect } from "wsadapter";

const SILENT_MS = 7_000; // connections are asked every two seconds
const UNAUTHENTICATED = 3500;
const NOT_PERMITTED = 3507;

const page = document.querySelector(".wsadapter[data-socket]");
const one = (name, within = page) => within.querySelector(`[data-${name}]`);
const field = (name, within) => within.querySelector(`[data-field="${name}"]`);

/** What is known of each row on the page, by client id. */
const known = new Map();
/** How far the server's clock is ahead. */
let skewMs = 0;
let wasOpen = false;

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function hide(element, isHidden) {
  element.hidden = isHidden;
}

/** @param {HTMLAnchorElement} link @param {Record<string, string>} parameters */
function point(link, parameters) {
  const url = new URL(link.getAttribute("href"), location.href);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  link.href = url.href;
}

function copyOf(template) {
  return one(template).content.firstElementChild.cloneNode(true);
}

/** Put the elements in order, and only those; one that is in its place is not touched. */
function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  });
}

function elementOf(row) {
  const found = [...one("rows").children].find((element) => element.dataset.client === row.client_id);
  return found ?? copyOf("row");
}

function fill(element, row) {
  element.dataset.client = row.client_id;
  for (const name of ["client_id", "path", "address", "process"]) write(field(name, element), row[name]);
  const isAnonymous = row.user_id === null;
  write(one("user", element), row.user);
  hide(one("user", element), isAnonymous);
  hide(one("anonymous", element), !isAnonymous);
  hide(one("all", element), isAnonymous);
  point(one("user", element), { by: "user", q: row.user_id ?? "" });
  for (const link of element.querySelectorAll("[data-user-action]")) point(link, { user: row.user_id ?? "" });
  for (const link of element.querySelectorAll("[data-client-action]")) point(link, { client: row.client_id });
  for (const button of element.querySelectorAll("button[name=client]")) button.value = row.client_id;
}

function fillNode(element, node) {
  element.dataset.lease = node.lease;
  for (const name of ["host", "pid", "connections", "lease"]) write(field(name, element), String(node[name]));
  write(field("ends", element), `${node.ends_in_seconds.toFixed(0)} s`);
  return element;
}

function showNodes(nodes) {
  const present = new Map([...one("nodes").children].map((element) => [element.dataset.lease, element]));
  arrange(one("nodes"), nodes.map((node) => fillNode(present.get(node.lease) ?? copyOf("node"), node)));
  write(one("node-count"), String(nodes.length));
  write(one("total"), String(nodes.reduce((sum, node) => sum + node.connections, 0)));
}

function showRows({ clients, rows }) {
  for (const row of rows) {
    const entry = known.get(row.client_id) ?? { element: elementOf(row), report: null, since: performance.now() };
    fill(entry.element, row);
    known.set(row.client_id, { ...entry, row });
  }
  for (const client of [...known.keys()]) if (!clients.includes(client)) known.delete(client);
  arrange(one("rows"), clients.map((client) => known.get(client).element));
  hide(one("none"), clients.length > 0);
}

function show(look) {
  skewMs = look.now * 1000 - Date.now();
  hide(one("trouble"), true);
  showNodes(look.nodes);
  showRows(look);
  write(one("note"), look.note);
  hide(one("note"), !look.note);
  hide(one("next"), !look.next);
  point(one("next"), { cursor: look.next });
  tell("on", `Live, as of ${new Date().toLocaleTimeString()}.`);
  tick();
}

function take({ reports }) {
  for (const report of reports) {
    const entry = known.get(report.client);
    if (entry) Object.assign(entry, { report, since: performance.now() });
  }
  tick();
}

function showReport({ element, report, since }) {
  const waitedMs = performance.now() - since;
  const isSilent = waitedMs > SILENT_MS;
  element.classList.toggle("ws-mute", isSilent);
  if (report === null) {
    if (isSilent) write(field("seen", element), "no answer");
    return;
  }
  write(field("seen", element), isSilent ? "no answer" : `${duration(report.silence_seconds + waitedMs / 1000)} ago`);
  const trip = report.round_trip_seconds;
  write(field("round_trip", element), trip === null ? "–" : `${(trip * 1000).toFixed(1)} ms`);
  write(field("queued", element), size(report.queued_bytes));
  write(field("drops", element), String(report.dropped));
}

function tick() {
  const now = (Date.now() + skewMs) / 1000;
  for (const entry of known.values()) {
    write(one("time", entry.element), duration(now - entry.row.connected_at));
    showReport(entry);
  }
}

function tell(lamp, text) {
  one("lamp").dataset.lamp = lamp;
  write(one("state"), text);
}

function whyNotLive({ code, reason, willReconnect }) {
  if (code === UNAUTHENTICATED) return "you are not logged in any more. Reload the page.";
  if (code === NOT_PERMITTED) return `you may not see this (${reason}).`;
  if (!willReconnect) return `the server has ended the connection (${code} ${reason}). Reload the page.`;
  if (wasOpen) return "the connection is lost. Trying again.";
  return `no WebSocket answers at ${page.dataset.socket}. See "The page in the admin" in the documentation. Reload the page to see what is new.`;
}

const socket = connect(page.dataset.socket);

function watch() {
  if (document.visibilityState === "hidden") {
    socket.send({ type: "rest" });
  } else {
    for (const entry of known.values()) entry.since = performance.now();
    const { by, q, cursor } = page.dataset;
    socket.send({ type: "watch", by, q, cursor });
  }
}

socket.on("ws:welcome", () => {
  wasOpen = true;
  watch();
});
socket.on("look", show);
socket.on("reports", take);
socket.on("trouble", ({ message }) => {
  write(one("trouble"), message);
  hide(one("trouble"), false);
});
socket.on("ws:close", (detail) => tell("off", `Not live: ${whyNotLive(detail)}`));
document.addEventListener("visibilitychange", watch);
setInterval(() => socket.state === "open" && tick(), 1000);
