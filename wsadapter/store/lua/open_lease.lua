-- Register a lease, or renew one that is live.
-- KEYS as in prelude.lua; writes nodes and forgotten.
-- ARGV 1 lease  2 its length, ms  3 the lease that it takes the place of, or ""
-- Answers 1, and what is known of the old lease: "held", "reaped" or "forgotten";
-- or 0, nothing written, if a lease of this id has ended and must be reaped first.

local lease, lease_ms, old = ARGV[1], tonumber(ARGV[2]), ARGV[3]

if redis.call("ZSCORE", nodes, lease) and not is_live(lease) then return {0} end
local known = "held"
if redis.call("ZSCORE", reaped, old) then
  known = "reaped"
elseif old ~= "" and not redis.call("ZSCORE", nodes, old) then
  known = "forgotten"
  redis.call("SET", forgotten, 1, "PX", lease_ms)
end
redis.call("ZADD", nodes, now + lease_ms, lease)
return {1, known}
