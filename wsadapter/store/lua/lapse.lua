-- End a lease now. What hangs on it is out of every answer and can be reaped.
-- KEYS as in prelude.lua; writes nodes.
-- ARGV 1 lease

redis.call("ZADD", nodes, "XX", 0, ARGV[1])
