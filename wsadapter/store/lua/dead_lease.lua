-- A lease that has ended and is not reaped, or nil.
-- KEYS as in prelude.lua; reads nodes.

return dead_lease()
