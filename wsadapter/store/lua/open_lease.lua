-- Register a lease, or renew one that is live.
-- KEYS as in prelude.lua; writes nodes.
-- ARGV 1 lease  2 its length, ms
-- Answers 1; or 0, nothing written, if a lease of this id has ended and must be reaped first.

local lease, lease_ms = ARGV[1], tonumber(ARGV[2])

if redis.call("ZSCORE", nodes, lease) and not is_live(lease) then return 0 end
redis.call("ZADD", nodes, now + lease_ms, lease)
return 1
