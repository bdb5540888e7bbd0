-- A page of the users online. O(log users + limit).
-- KEYS as in prelude.lua; reads nodes and users.
-- ARGV 1 lower bound, as ZRANGEBYLEX reads it  2 limit
-- Answers {user id, …}, or nil if something dead must be reaped first.

if dead_lease() then return end
return redis.call("ZRANGEBYLEX", users, ARGV[1], "+", "LIMIT", 0, ARGV[2])
