-- Register memberships of groups, or their new info.
-- KEYS as in prelude.lua; writes leaving and what is about groups.
-- ARGV 1 lease  2… client id, group and membership, in turn
-- Answers nil, nothing written, if the lease is not live; else for each 1 if its user, or its
-- client without one, was not in the group and is to be announced there, else 0.

local lease = ARGV[1]

if not is_live(lease) then return nil end

local answers = {}
for i = 2, #ARGV, 3 do
  local client_id, group, record = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local field = client_id .. SEPARATOR .. group
  local user, _, announced = read_membership(record)
  local old = redis.call("HGET", members_stem .. lease, field)
  local is_new = not is_member(user, client_id, group)
    and redis.call("ZREM", leaving, who(user, client_id, group)) == 0
  if old and read_membership(old) ~= user then  -- the id has changed hands
    drop_members(lease, {[field] = old})
    old = nil
  end
  redis.call("HSET", members_stem .. lease, field, record)
  if not old then
    redis.call("ZADD", group_stem .. group, 0, member(user, client_id, lease))
    redis.call("HINCRBY", group_counts_stem .. group, lease, 1)
  end
  answers[#answers + 1] = is_new and announced and 1 or 0
end
return answers
