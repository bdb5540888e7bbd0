-- The connection of a client id. O(1).
-- KEYS as in prelude.lua; reads nodes, the client's key and its node.
-- ARGV 1 client id
-- Answers {lease, record}, or {} if there is none.

return {holder(ARGV[1])}
