-- Put connections back under a new lease.
-- KEYS as in prelude.lua; writes all but nodes.
-- ARGV 1 lease  2… client id and record, in turn
-- Answers 1; or 0, nothing written, if the lease is not live.

local lease = ARGV[1]

if not is_live(lease) then return 0 end

-- What this lease has already is left alone, and so is an id that another connection holds.
local missing = {}
for i = 2, #ARGV, 2 do
  local client_id, record = ARGV[i], ARGV[i + 1]
  local old_lease, old_record = holder(client_id)
  if not old_lease then
    missing[client_id] = missing[client_id] or record
  elseif old_lease ~= lease and select(2, read(old_record)) == select(2, read(record)) then
    take(old_lease, {[client_id] = old_record})
    missing[client_id] = record
  end
end
put(lease, missing)
return 1
