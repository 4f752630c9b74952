-- Grants one call if both rolling windows have room, otherwise returns how long to wait. Atomic.
-- KEYS  1 calls of the IP address  2 calls of the account and endpoint  3 ban  4 block of the account and endpoint
--       5 accounts that are back-filled  6 calls of the account for which it takes only its part
--       7 when a reconciliation last waited for the address: backfills then take half of what they may otherwise
--       8 accounts that are reconciled
-- ARGV  1 now (ms)  2 window (ms)  3 id of this call  4 limit for this priority in 1  5 the same in 2 (0: no limit)
--       6 the account, when this call takes only its part of 1 while half of that is in use; "" otherwise
--       7 1: a backfill
-- Returns {0, 0} granted, {1, ms} wait, {2, ms} banned.
local now, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local banned_until = tonumber(redis.call('GET', KEYS[3]) or '0')
if banned_until > now then return {2, banned_until - now} end
local blocked_until = tonumber(redis.call('GET', KEYS[4]) or '0')
if blocked_until > now then return {1, blocked_until - now} end

local function wait(key, room)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  -- entries from a clock that has since been set back
  redis.call('ZREMRANGEBYSCORE', key, '(' .. (now + window), '+inf')
  local count = redis.call('ZCARD', key)
  if count < room then return 0 end
  local leaving = redis.call('ZRANGE', key, count - room, count - room, 'WITHSCORES')
  return math.max(1, tonumber(leaving[2]) + window - now)
end

local ip_room, own_room = tonumber(ARGV[4]), tonumber(ARGV[5])
local fair, backfill = ARGV[6] ~= '', ARGV[7] == '1'
if backfill and now - tonumber(redis.call('GET', KEYS[7]) or '-inf') < 2 * window then
  ip_room = math.max(1, math.floor(ip_room / 2))
end
local longest = wait(KEYS[1], ip_room)
if fair then
  if longest > 0 and not backfill then redis.call('SET', KEYS[7], now, 'PX', 4 * window) end
  redis.call('ZADD', backfill and KEYS[5] or KEYS[8], now, ARGV[6])
  redis.call('PEXPIRE', backfill and KEYS[5] or KEYS[8], 4 * window)
  for _, key in ipairs({KEYS[5], KEYS[8]}) do redis.call('ZREMRANGEBYSCORE', key, '-inf', now - 2 * window) end
  if redis.call('ZCARD', KEYS[1]) * 2 >= ip_room then
    local filling, reconciling = redis.call('ZCARD', KEYS[5]), redis.call('ZCARD', KEYS[8])
    local part = ip_room / (filling + reconciling)
    if not backfill then part = ip_room / (filling > 0 and 2 or 1) / reconciling end
    longest = math.max(longest, wait(KEYS[6], math.ceil(part)))
  end
end
if own_room > 0 then longest = math.max(longest, wait(KEYS[2], own_room)) end
if longest > 0 then return {1, longest} end

redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], 2 * window)
if fair then
  redis.call('ZADD', KEYS[6], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[6], 2 * window)
end
if own_room > 0 then
  redis.call('ZADD', KEYS[2], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[2], 2 * window)
end
return {0, 0}
