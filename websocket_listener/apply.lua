-- Writes a batch of one bot's changes in order, in one atomic step.
-- ARGV  1 bot  2 fencing token of the writer's lease  3 events kept  4 the changes, below  5 "1": the lease was
-- just proved in PostgreSQL  6 this Redis's clock in ms when the changes were sent, as the writer reckons, "" when it cannot: what
-- was long on its way is younger in its own words than it is. The changes, MessagePack: a list of lists of texts, each a word
-- with its arguments:
--   TAKE                                               from here on this token is the writer; refused when a larger one was,
--                                                      and, where none stands here, unless the lease was proved
--   EVENT type ts data
--   POSITION symbol seq updated open data field value ...     guarded by (seq, updated); event only when it is taken
--   FORCE (same arguments)                             not guarded: a rebuild by the owner of the state
--   FLATTEN symbol ...                                 positions not among these symbols become flat
--   MARK key field value ...                           fields of a hash that exists already
--   ORDER id updated ts json                           guarded by updatedTime; event only when it is taken
--   CLOSED id updated ts json                          the end of an order, whatever time its last state claimed
--   FORGET                                             the open orders and the wallet; a rebuild writes them anew
--   WALLET key updated data field value ...            guarded by updated_at; data "" for no event
--   STATUS field value ...                             with late_ms, how long it was on its way
-- Returns this Redis's clock in ms, and -1 when the keys are gone (an emptied Redis), -2 when they are another writer's, -3 when the lease must be proved
-- first, else how many were ignored as old.
local bot, token, kept, proved = ARGV[1], ARGV[2], ARGV[3], ARGV[5] == '1'
local changes = cmsgpack.unpack(ARGV[4])
local status, stream, held, orders = 'status:' .. bot, 'events:' .. bot, 'positions:' .. bot, 'orders:' .. bot
local wallet = 'wallet:' .. bot
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local ignored = 0

local function event(kind, ts, data)
  redis.call('XADD', stream, 'MAXLEN', '~', kept, '*', 'type', kind, 'ts_ms', ts, 'data', data)
  redis.call('PUBLISH', 'alpha:events', '{"bot":"' .. bot .. '","type":"' .. kind .. '","ts_ms":' .. ts .. ',"data":' .. data .. '}')
end

local function number(text) return tonumber(text) or -1 end

local apply = {}

function apply.TAKE() redis.call('HSET', status, 'writer', token, 'token', token) end

function apply.EVENT(c) event(c[2], c[3], c[4]) end

local function position(c, guarded)
  local key = 'position:' .. bot .. ':' .. c[2]
  if guarded then
    local known = redis.call('HMGET', key, 'seq', 'updated_at')
    local seq, known_seq = number(c[3]), number(known[1])
    if known[1] and (known_seq > seq or (known_seq == seq and number(known[2]) > number(c[4]))) then
      ignored = ignored + 1
      return
    end
  end
  redis.call('HSET', key, unpack(c, 7))
  if c[5] == '1' then redis.call('SADD', held, c[2]) else redis.call('SREM', held, c[2]) end
  if c[6] ~= '' then event('position', c[4] ~= '' and c[4] or '0', c[6]) end
end

function apply.POSITION(c) position(c, true) end

function apply.FORCE(c) position(c, false) end

function apply.FLATTEN(c)
  local open = {}
  for i = 2, #c do open[c[i]] = true end
  for _, symbol in ipairs(redis.call('SMEMBERS', held)) do
    if not open[symbol] then
      redis.call('HSET', 'position:' .. bot .. ':' .. symbol, 'side', '', 'size', '0', 'unrealised_pnl', '0')
      redis.call('SREM', held, symbol)
    end
  end
end

function apply.MARK(c)
  if redis.call('EXISTS', c[2]) == 1 then redis.call('HSET', c[2], unpack(c, 3)) end
end

local function order(c, open)
  local known = redis.call('HGET', orders, c[2])
  if open and known and number(string.match(known, '"updatedTime":"(%d+)"')) > number(c[3]) then
    ignored = ignored + 1
    return
  end
  if open then redis.call('HSET', orders, c[2], c[5]) else redis.call('HDEL', orders, c[2]) end
  if c[4] ~= '' then event('order', c[4], c[5]) end
end

function apply.ORDER(c) order(c, true) end

function apply.CLOSED(c) order(c, false) end

function apply.FORGET() redis.call('DEL', orders, wallet, wallet .. ':USDC') end

function apply.WALLET(c)
  if number(redis.call('HGET', c[2], 'updated_at')) > number(c[3]) then
    ignored = ignored + 1
    return
  end
  redis.call('HSET', c[2], unpack(c, 5))
  if c[4] ~= '' then event('wallet', c[3], c[4]) end
end

function apply.STATUS(c)
  local late_ms = math.max(0, now_ms - (tonumber(ARGV[6]) or now_ms))
  redis.call('HSET', status, 'late_ms', string.format('%d', late_ms), unpack(c, 2))
end

if changes[1][1] ~= 'TAKE' then
  local writer = redis.call('HGET', status, 'writer')
  if writer ~= token then return {now_ms, writer and -2 or -1} end
else
  -- `writer` of the release before this one was no number, so the token has a field of its own
  local newest = redis.call('HGET', status, 'token')
  if not newest and not proved then return {now_ms, -3} end
  if newest and number(newest) > number(token) then return {now_ms, -2} end
end
for _, change in ipairs(changes) do
  apply[change[1]](change)
end
return {now_ms, ignored}
