-- Remove one chunk of what hangs on a lease that has ended, and with the last of it the lease:
-- first memberships of groups, then connections.
-- KEYS as in prelude.lua; writes all of them.
-- ARGV 1 lease  2 cursor, "0" at first  3 how many, about
-- Answers the cursor of the next chunk, or nil when nothing is left to do.

local lease, cursor, chunk = ARGV[1], ARGV[2], tonumber(ARGV[3])

local ended = redis.call("ZSCORE", nodes, lease)
if is_live(lease) then return end

-- One that was given up knows that its users are gone; one that has lapsed may come back.
if ended and tonumber(ended) > 0 then
  redis.call("ZADD", reaped, now, lease)
  redis.call("ZREMRANGEBYSCORE", reaped, "-inf", now - KEPT_MS)
  redis.call("PEXPIRE", reaped, KEPT_MS)
end

-- What is in a hash from the cursor on, and the next cursor. The cursor moves on, because the
-- emptied part of a large hash takes long to look through; a small hash always comes whole.
local function scan(key)
  local next_cursor, pairs_there = unpack(redis.call("HSCAN", key, cursor, "COUNT", chunk))
  local records = {}
  for i = 1, math.min(#pairs_there, 2 * chunk), 2 do records[pairs_there[i]] = pairs_there[i + 1] end
  return records, next_cursor
end

local members = members_stem .. lease
if redis.call("EXISTS", members) == 1 then
  local memberships, next_cursor = scan(members)
  drop_members(lease, memberships)
  return redis.call("EXISTS", members) == 1 and next_cursor or "0"
end

local connections, next_cursor = scan(node_stem .. lease)
take(lease, connections)
if redis.call("EXISTS", node_stem .. lease) == 1 then return next_cursor end
redis.call("ZREM", nodes, lease)
