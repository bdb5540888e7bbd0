// socket.io with its Redis adapter; WebSocket only, without compression.
import { createServer } from "node:http";

import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

// Engine.IO pings every 25 seconds by default; once a day, none stands among the messages measured.
const PING_MS = process.env.BENCH_HEARTBEATS ? 25_000 : 86_400_000;

const publisher = await createClient({ url: process.env.BENCH_REDIS_URL }).connect();
const subscriber = await publisher.duplicate().connect();

const http = createServer();
const server = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  pingInterval: PING_MS,
});
server.on("connection", (socket) => {
  socket.join(`user:${socket.handshake.query.user ?? "nobody"}`);
});

// Its answer comes after those to the adapter's subscriptions, which went out before.
await subscriber.ping();
http.listen({ host: "127.0.0.1", port: Number(process.env.BENCH_PORT), backlog: 2048 });
