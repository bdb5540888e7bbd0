-- Register a connection.
-- KEYS as in prelude.lua; writes all but nodes.
-- ARGV 1 lease  2 client id  3 record  4 "1" if the client chose the id itself
-- Answers {"lapsed"}, {"taken"}, {"joined"}, or {"replaced", lease and record of the old one}.

local lease, client_id, record, claim = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == "1"

if not is_live(lease) then return {"lapsed"} end

local old_lease, old_record = holder(client_id)
if not old_lease then
  put(lease, {[client_id] = record})
  return {"joined"}
end

local user, serial = read(record)
local old_user, old_serial = read(old_record)
local is_same = serial == old_serial
if not is_same and not (claim and user == old_user) then return {"taken"} end

take(old_lease, {[client_id] = old_record})
put(lease, {[client_id] = record})
if is_same then return {"joined"} end
return {"replaced", old_lease, old_record}
