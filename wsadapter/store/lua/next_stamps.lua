-- Take the next number in the sequences of groups. O(numbers).
-- KEYS as in prelude.lua; writes the groups' sequences.
-- ARGV 1 how long a sequence outlives its last number, ms  2… a group for each number
-- Answers {now, number…}

local kept_ms = ARGV[1]
-- In microseconds: nobody takes more than one number in each of them, so a sequence that begins
-- anew, since its key has expired or Redis has lost its memory, is beyond where it has been.
local beginning = time[1] * 1000000 + time[2]

local answers = {now}
for i = 2, #ARGV do
  local sequence = sequence_stem .. ARGV[i]
  local number = redis.call("INCR", sequence)
  if number == 1 then
    number = beginning
    redis.call("SET", sequence, number)
  end
  redis.call("PEXPIRE", sequence, kept_ms)
  answers[i] = number
end
return answers
