-- A page of the members of a group. O(log members + limit).
-- KEYS as in prelude.lua; reads nodes, the group and the memberships of those on the page.
-- ARGV 1 group  2 lower bound, as ZRANGEBYLEX reads it  3 limit
-- Answers {lease, {client id, …}, {membership, …}, …}, the leases in no order,
-- or nil if something dead must be reaped first.

if dead_lease() then return end

local group = ARGV[1]
local ids, fields = {}, {}
for _, entry in ipairs(redis.call("ZRANGEBYLEX", group_stem .. group, ARGV[2], "+", "LIMIT", 0, ARGV[3])) do
  local client_id, lease = entry:match("^[^\255]*\255([^\255]*)\255(.*)$")
  if not ids[lease] then ids[lease], fields[lease] = {}, {} end
  local n = #ids[lease] + 1
  ids[lease][n], fields[lease][n] = client_id, client_id .. SEPARATOR .. group
end

local page = {}
for lease, client_ids in pairs(ids) do
  local n = #page
  page[n + 1], page[n + 2] = lease, client_ids
  page[n + 3] = redis.call("HMGET", members_stem .. lease, unpack(fields[lease]))
end
return page
