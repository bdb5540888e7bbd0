-- Users online. O(1).
-- KEYS as in prelude.lua; reads nodes and users.
-- Answers nil if something dead must be reaped first.

if dead_lease() then return end
return redis.call("ZCARD", users)
