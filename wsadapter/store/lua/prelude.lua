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

local nodes, counts, users, clients, node_stem, user_stem, client_stem, sequence_stem =
  unpack(KEYS)

local SEPARATOR, ANONYMOUS = "\255", "\254"

local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function is_live(lease)
  local ends = redis.call("ZSCORE", nodes, lease)
  return ends and tonumber(ends) > now
end

local function live_leases()
  return redis.call("ZRANGEBYSCORE", nodes, "(" .. now, "+inf")
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

-- Add connections (client id -> record) to a lease that has none of them yet.
local function put(lease, records)
  if not next(records) then return end
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
    online[#online + 1], online[#online + 2] = 0, user
  end
  if #online > 0 then redis.call("ZADD", users, unpack(online)) end
  count(lease)
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
  if #offline > 0 then redis.call("ZREM", users, unpack(offline)) end
  count(lease)
end
