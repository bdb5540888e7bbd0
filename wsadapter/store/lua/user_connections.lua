-- Connections of one user under live leases. O(leases of that user).
-- KEYS as in prelude.lua; reads nodes and the user's hash.
-- ARGV 1 user id

local total = 0
local counted = redis.call("HGETALL", user_stem .. ARGV[1])
for i = 1, #counted, 2 do
  if is_live(counted[i]) then total = total + tonumber(counted[i + 1]) end
end
return total
