-- Connections under live leases. O(leases).
-- KEYS as in prelude.lua; reads nodes and counts.

local leases = live_leases()
if #leases == 0 then return 0 end

local total = 0
for _, connections in ipairs(redis.call("HMGET", counts, unpack(leases))) do
  total = total + (tonumber(connections) or 0)
end
return total
