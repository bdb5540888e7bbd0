-- Members of a group under live leases. O(leases of that group).
-- KEYS as in prelude.lua; reads nodes and the group's counts.
-- ARGV 1 group

return live_total(group_counts_stem .. ARGV[1])
