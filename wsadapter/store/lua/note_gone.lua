-- Note that users are gone, unless they are here.
-- KEYS as in prelude.lua; reads users; writes leaving and arriving.
-- ARGV the users

local _, gone = partition(users, ARGV)
note_gone(gone)
