-- Remove connections, each if it is the one that is registered.
-- KEYS as in prelude.lua; writes all but nodes.
-- ARGV 1 lease  2… client id and serial, in turn
-- Answers nil if the lease is not live; else for each connection 1, or 0 if it was not there.

local lease = ARGV[1]

if not is_live(lease) then return nil end

local answers, leavers = {}, {}
for i = 2, #ARGV, 2 do
  local client_id, serial = ARGV[i], ARGV[i + 1]
  local record = not leavers[client_id] and redis.call("HGET", node_stem .. lease, client_id)
  local is_it = record and select(2, read(record)) == serial
  if is_it then leavers[client_id] = record end
  answers[#answers + 1] = is_it and 1 or 0
end
take(lease, leavers)
return answers
