-- Renew a lease that is live.
-- KEYS as in prelude.lua; writes nodes.
-- ARGV 1 lease  2 its length, ms  3 how long ago an absence began that is overdue, ms
-- Answers 0, nothing written, if the lease is not live; else 1, or 2 if there is a lease to reap
-- or something to announce.

local lease, lease_ms, overdue_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if not is_live(lease) then return 0 end
redis.call("ZADD", nodes, now + lease_ms, lease)
if dead_lease()
  or redis.call("ZCOUNT", leaving, "-inf", now - overdue_ms) > 0
  or redis.call("ZCOUNT", arriving, "-inf", now - lease_ms) > 0
then
  return 2
end
return 1
