-- Stands before the script of every operation: what they all know.
--
-- KEYS, the same for all scripts (keys.py spells them and says what is in them):
--   1  nodes         zset    lease -> when it ends, ms
--   2  counts        hash    lease -> connections
--   3  users         zset    user id, score 0
--   4  clients       zset    <user> 255 <client id> 255 <lease>, score 0
--   5  node_stem     .. lease      hash    client id -> record: <user> 255 <serial> 255 <more>
--   6  user_stem     .. user id    hash    lease -> connections
--   7  client_stem   .. client id  string  lease
--   8  sequence_stem .. group      string  its last number
--   9  leaving       zset    who is absent and not announced so -> since when, ms
--  10  arriving      zset    who may have come online -> since when, ms
--  11  reaped        zset    lease -> when it was found to have ended, ms
--  12  forgotten     string  is there for a lease's time after Redis has lost its memory
--  13  group_stem        .. group      zset    <user> 255 <client id> 255 <lease>, score 0
--  14  group_counts_stem .. group      hash    lease -> members
--  15  members_stem      .. lease      hash    <client id> 255 <group> -> membership:
--                                              <user> 255 <serial> 255 <announced> 255 <info>
--
-- Absent is a user, or a member of a group: <user> 255 <group>, with 254 <client id> in place of a
-- user that there is none of.

local nodes, counts, users, clients, node_stem, user_stem, client_stem, sequence_stem,
  leaving, arriving, reaped, forgotten, group_stem, group_counts_stem, members_stem =
  unpack(KEYS)

local SEPARATOR, ANONYMOUS = "\255", "\254"
local KEPT_MS = 3600000  -- how long it is remembered who left, where nobody lives to announce it

local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function is_live(lease)
  local ends = redis.call("ZSCORE", nodes, lease)
  return ends and tonumber(ends) > now
end

local function live_leases()
  return redis.call("ZRANGEBYSCORE", nodes, "(" .. now, "+inf")
end

-- The sum over the live leases of a hash: lease -> how many.
local function live_total(key)
  local sum, counted = 0, redis.call("HGETALL", key)
  for i = 1, #counted, 2 do
    if is_live(counted[i]) then sum = sum + tonumber(counted[i + 1]) end
  end
  return sum
end

local function dead_lease()
  return redis.call("ZRANGEBYSCORE", nodes, "-inf", now, "LIMIT", 0, 1)[1]
end

-- The live lease that holds a client id, and the connection's record; or nil.
local function holder(client_id)
  local lease = redis.call("GET", client_stem .. client_id)
  if lease and is_live(lease) then
    local record = redis.call("HGET", node_stem .. lease, client_id)
    if record then return lease, record end
  end
end

-- The user and the serial of a connection; the user of an anonymous one is ANONYMOUS.
local function read(record)
  return record:match("^([^\255]*)\255([^\255]*)")
end

local function member(user, client_id, lease)
  return user .. SEPARATOR .. client_id .. SEPARATOR .. lease
end

-- The length of the hash is the truth; the count is never added to, so it cannot drift.
local function count(lease)
  local connections = redis.call("HLEN", node_stem .. lease)
  if connections > 0 then
    redis.call("HSET", counts, lease, connections)
  else
    redis.call("HDEL", counts, lease)
  end
end

-- Those of some members that a zset has, and those that it has not.
local function partition(key, members)
  local present, absent = {}, {}
  if #members == 0 then return present, absent end
  for i, score in ipairs(redis.call("ZMSCORE", key, unpack(members))) do
    local part = score and present or absent
    part[#part + 1] = members[i]
  end
  return present, absent
end

-- Add members to a zset, all with one score.
local function add(key, score, members)
  if #members == 0 then return end
  local scored = {}
  for i, member in ipairs(members) do scored[2 * i - 1], scored[2 * i] = score, member end
  redis.call("ZADD", key, unpack(scored))
end

-- Remove members from a zset. Returns those that it has not had.
local function remove(key, members)
  local present, absent = partition(key, members)
  if #present > 0 then redis.call("ZREM", key, unpack(present)) end
  return absent
end

-- Add connections (client id -> record) to a lease that has none of them yet. Returns the users
-- who had no connection before and are not about to be announced as gone.
local function put(lease, records)
  if not next(records) then return {} end
  local fields, members, owners, per_user, n = {}, {}, {}, {}, 0
  for client_id, record in pairs(records) do
    local user = read(record)
    fields[n + 1], fields[n + 2] = client_id, record
    members[n + 1], members[n + 2] = 0, member(user, client_id, lease)
    owners[n + 1], owners[n + 2] = client_stem .. client_id, lease
    n = n + 2
    if user ~= ANONYMOUS then per_user[user] = (per_user[user] or 0) + 1 end
  end
  redis.call("HSET", node_stem .. lease, unpack(fields))
  redis.call("ZADD", clients, unpack(members))
  redis.call("MSET", unpack(owners))

  local online = {}
  for user, connections in pairs(per_user) do
    redis.call("HINCRBY", user_stem .. user, lease, connections)
    online[#online + 1] = user
  end
  local _, newcomers = partition(users, online)
  add(users, 0, newcomers)
  count(lease)
  return remove(leaving, newcomers)
end

-- Note that they are absent. After a loss of memory that is so when all have put back what they
-- have: until then they may be present elsewhere.
local function note_absent(absent)
  if #absent == 0 then return end
  add(leaving, now + math.max(redis.call("PTTL", forgotten), 0), absent)
  redis.call("PEXPIRE", leaving, KEPT_MS)
end

-- Note that users have no connection any more, unless nobody knows that they had one.
local function note_gone(gone)
  note_absent(remove(arriving, gone))
end

-- Let go of those client ids that the lease still holds; another may hold them by now.
local function release(lease, client_ids)
  local owners, held = {}, {}
  for i, client_id in ipairs(client_ids) do owners[i] = client_stem .. client_id end
  for i, owner in ipairs(redis.call("MGET", unpack(owners))) do
    if owner == lease then held[#held + 1] = owners[i] end
  end
  if #held > 0 then redis.call("DEL", unpack(held)) end
end

-- Remove connections (client id -> record) that the lease has.
local function take(lease, records)
  if not next(records) then return end
  local client_ids, members, per_user, n = {}, {}, {}, 0
  for client_id, record in pairs(records) do
    local user = read(record)
    n = n + 1
    client_ids[n], members[n] = client_id, member(user, client_id, lease)
    if user ~= ANONYMOUS then per_user[user] = (per_user[user] or 0) + 1 end
  end
  redis.call("HDEL", node_stem .. lease, unpack(client_ids))
  redis.call("ZREM", clients, unpack(members))
  release(lease, client_ids)

  local offline = {}
  for user, connections in pairs(per_user) do
    local key = user_stem .. user
    if redis.call("HINCRBY", key, lease, -connections) <= 0 then
      redis.call("HDEL", key, lease)
      if redis.call("EXISTS", key) == 0 then offline[#offline + 1] = user end
    end
  end
  if #offline > 0 then
    redis.call("ZREM", users, unpack(offline))
    note_gone(offline)
  end
  count(lease)
end

-- A membership: its user, its serial, and whether the group is told of it.
local function read_membership(record)
  local user, serial, announced = record:match("^([^\255]*)\255([^\255]*)\255([^\255]*)\255")
  return user, serial, announced == "1"
end

-- Who a connection is in a group, as it stands in `leaving`.
local function who(user, client_id, group)
  return (user == ANONYMOUS and ANONYMOUS .. client_id or user) .. SEPARATOR .. group
end

-- Whether a user, or a client that has none, is in a group.
local function is_member(user, client_id, group)
  local first = user .. SEPARATOR
  if user == ANONYMOUS then first = first .. client_id .. SEPARATOR end
  return redis.call("ZLEXCOUNT", group_stem .. group, "[" .. first, "(" .. first .. SEPARATOR) > 0
end

-- Remove memberships (client id and group -> membership) that the lease has.
local function drop_members(lease, records)
  if not next(records) then return end
  local fields, announced_ones = {}, {}
  for field, record in pairs(records) do
    local client_id, group = field:match("^([^\255]*)\255(.*)$")
    local user, _, announced = read_membership(record)
    fields[#fields + 1] = field
    redis.call("ZREM", group_stem .. group, member(user, client_id, lease))
    if redis.call("HINCRBY", group_counts_stem .. group, lease, -1) <= 0 then
      redis.call("HDEL", group_counts_stem .. group, lease)
    end
    if announced then announced_ones[#announced_ones + 1] = {user, client_id, group} end
  end
  redis.call("HDEL", members_stem .. lease, unpack(fields))

  local absent = {}
  for _, one in ipairs(announced_ones) do
    if not is_member(unpack(one)) then absent[#absent + 1] = who(unpack(one)) end
  end
  note_absent(absent)
end
