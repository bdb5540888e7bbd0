-- Put connections back under a new lease.
-- KEYS as in prelude.lua; writes all but nodes.
-- ARGV 1 lease  2… client id and record, in turn
-- Answers the users who were taken for gone; or nil, nothing written, if the lease is not live.

local lease = ARGV[1]

if not is_live(lease) then return nil end

-- What this lease has already is left alone, and so is an id that another connection holds.
local missing, moving, known = {}, {}, {}
for i = 2, #ARGV, 2 do
  local client_id, record = ARGV[i], ARGV[i + 1]
  local old_lease, old_record = holder(client_id)
  if not old_lease then
    known[#known + 1] = read(record)
    missing[client_id] = missing[client_id] or record
  elseif old_lease ~= lease and select(2, read(old_record)) == select(2, read(record)) then
    moving[old_lease] = moving[old_lease] or {}
    moving[old_lease][client_id] = old_record
    missing[client_id] = missing[client_id] or record
  end
end
remove(arriving, known)

-- Who moves is here before leaving there, and so never gone.
local strangers = put(lease, missing)
for old_lease, records in pairs(moving) do take(old_lease, records) end
return strangers
