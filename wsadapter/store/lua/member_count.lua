-- Members of a group under live leases. O(leases of that group).
-- KEYS as in prelude.lua; reads nodes and the group's counts.
-- ARGV 1 group

local total = 0
local counted = redis.call("HGETALL", group_counts_stem .. ARGV[1])
for i = 1, #counted, 2 do
  if is_live(counted[i]) then total = total + tonumber(counted[i + 1]) end
end
return total
