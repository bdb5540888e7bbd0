-- The live leases. O(leases).
-- KEYS as in prelude.lua; reads nodes and counts.
-- Answers {lease, connections, what is left of it in ms, …}.

local answer = {}
local ends = redis.call("ZRANGEBYSCORE", nodes, "(" .. now, "+inf", "WITHSCORES")
for i = 1, #ends, 2 do
  local n = #answer
  answer[n + 1] = ends[i]
  answer[n + 2] = tonumber(redis.call("HGET", counts, ends[i]) or 0)
  answer[n + 3] = tonumber(ends[i + 1]) - now
end
return answer
