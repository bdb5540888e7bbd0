-- Whether a client id has a connection. O(1).
-- KEYS as in prelude.lua; reads nodes, the client's key and its node.
-- ARGV 1 client id
-- Answers 1 or 0.

return holder(ARGV[1]) and 1 or 0
