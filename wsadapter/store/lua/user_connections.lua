-- Connections of one user under live leases. O(leases of that user).
-- KEYS as in prelude.lua; reads nodes and the user's hash.
-- ARGV 1 user id

return live_total(user_stem .. ARGV[1])
