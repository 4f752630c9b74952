-- Writes a batch of one bot's changes in order, in one atomic step.
-- ARGV  1 bot  2 token of the writer  3 events kept  4.. changes, each a word with its arguments:
--   TAKE                                               from here on this token is the writer
--   EVENT type ts data
--   POSITION symbol seq updated open data n field value ...   guarded by (seq, updated); event only when it is taken
--   FORCE (same arguments)                             not guarded: a rebuild by the owner of the state
--   FLATTEN n symbol ...                               positions not among these symbols become flat
--   MARK key n field value ...                         fields of a hash that exists already
--   ORDER id updated ts json / CLOSED id updated ts json      guarded by updatedTime; event only when it is taken
--   FORGET                                             the open orders and the wallet; a rebuild writes them anew
--   WALLET updated data n field value ...              guarded by updated_at; data "" for no event
--   STATUS n field value ...
-- Returns -1 when the keys are not this writer's (an emptied Redis, another writer), else how many were ignored as old.
local bot, token, kept = ARGV[1], ARGV[2], ARGV[3]
local status, stream, held, orders = 'status:' .. bot, 'events:' .. bot, 'positions:' .. bot, 'orders:' .. bot
local at, ignored = 4, 0

local function event(kind, ts, data)
  redis.call('XADD', stream, 'MAXLEN', '~', kept, '*', 'type', kind, 'ts_ms', ts, 'data', data)
  redis.call('PUBLISH', 'alpha:events', '{"bot":"' .. bot .. '","type":"' .. kind .. '","ts_ms":' .. ts .. ',"data":' .. data .. '}')
end

local function take(count)
  local taken = {unpack(ARGV, at, at + count - 1)}
  at = at + count
  return taken
end

local function number(text) return tonumber(text) or -1 end

if ARGV[at] ~= 'TAKE' and redis.call('HGET', status, 'writer') ~= token then return -1 end

while ARGV[at] do
  local word = ARGV[at]
  at = at + 1
  if word == 'EVENT' then
    local a = take(3)
    event(a[1], a[2], a[3])
  elseif word == 'POSITION' or word == 'FORCE' then
    local a = take(6)
    local fields = take(2 * tonumber(a[6]))
    local key = 'position:' .. bot .. ':' .. a[1]
    local known = redis.call('HMGET', key, 'seq', 'updated_at')
    local seq, updated = number(a[2]), number(a[3])
    local old = known[1] and (number(known[1]) > seq or (number(known[1]) == seq and number(known[2]) > updated))
    if word == 'POSITION' and old then
      ignored = ignored + 1
    else
      redis.call('HSET', key, unpack(fields))
      if a[4] == '1' then redis.call('SADD', held, a[1]) else redis.call('SREM', held, a[1]) end
      if a[5] ~= '' then event('position', a[3] ~= '' and a[3] or '0', a[5]) end
    end
  elseif word == 'FLATTEN' then
    local open = {}
    for _, symbol in ipairs(take(tonumber(take(1)[1]))) do open[symbol] = true end
    for _, symbol in ipairs(redis.call('SMEMBERS', held)) do
      if not open[symbol] then
        redis.call('HSET', 'position:' .. bot .. ':' .. symbol, 'side', '', 'size', '0', 'unrealised_pnl', '0')
        redis.call('SREM', held, symbol)
      end
    end
  elseif word == 'MARK' then
    local a = take(2)
    local fields = take(2 * tonumber(a[2]))
    if redis.call('EXISTS', a[1]) == 1 then redis.call('HSET', a[1], unpack(fields)) end
  elseif word == 'ORDER' or word == 'CLOSED' then
    local a = take(4)
    local known = redis.call('HGET', orders, a[1])
    local updated = known and number(string.match(known, '"updatedTime":"(%d+)"')) or -1
    if updated > number(a[2]) then
      ignored = ignored + 1
    else
      if word == 'ORDER' then redis.call('HSET', orders, a[1], a[4]) else redis.call('HDEL', orders, a[1]) end
      if a[3] ~= '' then event('order', a[3], a[4]) end
    end
  elseif word == 'FORGET' then
    redis.call('DEL', orders, 'wallet:' .. bot)
  elseif word == 'WALLET' then
    local a = take(3)
    local fields = take(2 * tonumber(a[3]))
    if number(redis.call('HGET', 'wallet:' .. bot, 'updated_at')) > number(a[1]) then
      ignored = ignored + 1
    else
      redis.call('HSET', 'wallet:' .. bot, unpack(fields))
      if a[2] ~= '' then event('wallet', a[1], a[2]) end
    end
  elseif word == 'STATUS' then
    redis.call('HSET', status, unpack(take(2 * tonumber(take(1)[1]))))
  elseif word == 'TAKE' then
    redis.call('HSET', status, 'writer', token)
  else
    return redis.error_reply('unknown change ' .. word)
  end
end
return ignored
