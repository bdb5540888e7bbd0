-- Remove a connection, if it is the one that is registered.
-- KEYS as in prelude.lua; writes all but nodes.
-- ARGV 1 lease  2 client id  3 serial
-- Answers "lapsed", "gone" or "left".

local lease, client_id, serial = ARGV[1], ARGV[2], ARGV[3]

if not is_live(lease) then return "lapsed" end

local record = redis.call("HGET", node_stem .. lease, client_id)
if not record or select(2, read(record)) ~= serial then return "gone" end

take(lease, {[client_id] = record})
return "left"
