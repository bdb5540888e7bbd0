-- Register connections, one after another.
-- KEYS as in prelude.lua; writes all of them, nodes only when it opens the lease.
-- ARGV 1 lease  2 its length in ms if it is to be opened, else 0
--      3… client id, record, and "1" if the client chose the id itself, in turn
-- Answers nil, nothing written, if the lease is not live; else the users who came online by it,
-- and for each connection "joined", "taken", or, where it replaced one, {lease and record of the
-- old one}.

local lease, opens_ms = ARGV[1], tonumber(ARGV[2])

if opens_ms > 0 and not redis.call("ZSCORE", nodes, lease) then
  redis.call("ZADD", nodes, now + opens_ms, lease)
end
if not is_live(lease) then return nil end

-- What nobody holds is put together at the end: a connection then costs a fraction of a call.
local answers, newcomers, came = {}, {}, {}
for i = 3, #ARGV, 3 do
  local client_id, record, claim = ARGV[i], ARGV[i + 1], ARGV[i + 2] == "1"
  if newcomers[client_id] then  -- one of this very batch holds the id, as any other would
    for _, user in ipairs(put(lease, newcomers)) do came[#came + 1] = user end
    newcomers = {}
  end
  local answer = "joined"
  local old_lease, old_record = holder(client_id)
  if old_lease then
    local user, serial = read(record)
    local old_user, old_serial = read(old_record)
    if serial ~= old_serial then
      answer = claim and user == old_user and {old_lease, old_record} or "taken"
    end
  end
  if answer ~= "taken" then
    if old_lease then take(old_lease, {[client_id] = old_record}) end
    newcomers[client_id] = record
  end
  answers[#answers + 1] = answer
end
for _, user in ipairs(put(lease, newcomers)) do came[#came + 1] = user end

-- Processes that have not put their connections back may have some of these users.
if #came > 0 and redis.call("EXISTS", forgotten) == 1 then
  for _, user in ipairs(came) do redis.call("ZADD", arriving, now, user) end
  redis.call("PEXPIRE", arriving, KEPT_MS)
  came = {}
end
return {came, answers}
