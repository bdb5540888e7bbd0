-- Remove one chunk of the connections of a lease that has ended, and with the last of them the lease.
-- KEYS as in prelude.lua; writes all of them.
-- ARGV 1 lease  2 cursor, "0" at first  3 how many connections, about
-- Answers the cursor of the next chunk, or nil when nothing is left to do.

local lease, cursor, chunk = ARGV[1], ARGV[2], ARGV[3]

if is_live(lease) then return end

-- The cursor moves on, because the emptied part of a large hash takes long to look through.
local scanned = redis.call("HSCAN", node_stem .. lease, cursor, "COUNT", chunk)
local records = {}
for i = 1, #scanned[2], 2 do records[scanned[2][i]] = scanned[2][i + 1] end
take(lease, records)

if redis.call("EXISTS", node_stem .. lease) == 1 then return scanned[1] end
redis.call("ZREM", nodes, lease)
