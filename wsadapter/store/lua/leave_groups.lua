-- Remove memberships of groups, each if it is of the connection that is registered.
-- KEYS as in prelude.lua; writes leaving and what is about groups.
-- ARGV 1 lease  2… client id, serial and group, in turn
-- Answers 1; or 0, nothing written, if the lease is not live.

local lease = ARGV[1]

if not is_live(lease) then return 0 end

local leavers = {}
for i = 2, #ARGV, 3 do
  local client_id, serial, group = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local field = client_id .. SEPARATOR .. group
  local record = redis.call("HGET", members_stem .. lease, field)
  if record and select(2, read_membership(record)) == serial then
    leavers[field] = record
  end
end
drop_members(lease, leavers)
return 1
