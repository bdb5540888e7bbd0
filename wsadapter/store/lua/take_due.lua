-- Take what is due to be announced; nobody else gets it.
-- KEYS as in prelude.lua; writes leaving and arriving.
-- ARGV 1 for how long somebody is absent before it is said, ms  2 the same for who may have come
--      3 limit
-- Answers {who is gone, …}, {who has come, …}

local function take_before(key, time)
  local due = redis.call("ZRANGEBYSCORE", key, "-inf", time, "LIMIT", 0, ARGV[3])
  if #due > 0 then redis.call("ZREM", key, unpack(due)) end
  return due
end

return {take_before(leaving, now - ARGV[1]), take_before(arriving, now - ARGV[2])}
