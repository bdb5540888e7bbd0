-- Renew a lease that is live.
-- KEYS as in prelude.lua; writes nodes.
-- ARGV 1 lease  2 its length, ms
-- Answers 1; or 0, nothing written, if the lease is not live.

local lease, lease_ms = ARGV[1], tonumber(ARGV[2])

if not is_live(lease) then return 0 end
redis.call("ZADD", nodes, now + lease_ms, lease)
return 1
