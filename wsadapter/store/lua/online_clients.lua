-- A page of connections. O(log connections + limit).
-- KEYS as in prelude.lua; reads nodes, clients and the nodes of those on the page.
-- ARGV 1 lower bound  2 upper bound, as ZRANGEBYLEX reads them  3 limit
-- Answers {lease, {client id, …}, {record, …}, …}, the leases in no order,
-- or nil if something dead must be reaped first.

if dead_lease() then return end

local by_lease = {}
for _, entry in ipairs(redis.call("ZRANGEBYLEX", clients, ARGV[1], ARGV[2], "LIMIT", 0, ARGV[3])) do
  local client_id, lease = entry:match("^[^\255]*\255([^\255]*)\255(.*)$")
  local client_ids = by_lease[lease] or {}
  client_ids[#client_ids + 1] = client_id
  by_lease[lease] = client_ids
end

local page = {}
for lease, client_ids in pairs(by_lease) do
  local n = #page
  page[n + 1], page[n + 2] = lease, client_ids
  page[n + 3] = redis.call("HMGET", node_stem .. lease, unpack(client_ids))
end
return page
