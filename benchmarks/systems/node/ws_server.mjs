// `ws` with Redis: each message goes to every client of its room, as the README of ws does it.
import { createClient } from "redis";
import { WebSocket, WebSocketServer } from "ws";

// How often the README of ws has a server look for broken connections.
const PING_MS = 30_000;

const rooms = new Map();

function join(room, client) {
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(client);
}

function leave(room, client) {
  rooms.get(room).delete(client);
  if (rooms.get(room).size === 0) rooms.delete(room);
}

function send(payload, room) {
  for (const client of rooms.get(room) ?? []) {
    if (client.readyState === WebSocket.OPEN) client.send(payload, { binary: false });
  }
}

// `true`: payloads as buffers, which ws writes without encoding them again for each client.
const subscriber = await createClient({ url: process.env.BENCH_REDIS_URL }).connect();
await subscriber.subscribe("broadcast", (payload, channel) => send(payload, channel.toString()), true);
await subscriber.pSubscribe("user:*", (payload, channel) => send(payload, channel.toString()), true);

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.env.BENCH_PORT),
  backlog: 2048,
  perMessageDeflate: false,
});
server.on("connection", (client, request) => {
  const user = new URL(request.url, "ws://localhost").searchParams.get("user") ?? "nobody";
  const own = ["broadcast", `user:${user}`];
  for (const room of own) join(room, client);
  client.isAlive = true;
  client.on("pong", () => (client.isAlive = true));
  client.on("error", () => {});
  client.on("close", () => own.forEach((room) => leave(room, client)));
});

function beat() {
  for (const client of server.clients) {
    if (client.isAlive) {
      client.isAlive = false;
      client.ping();
    } else client.terminate();
  }
}

if (process.env.BENCH_HEARTBEATS) setInterval(beat, PING_MS);
