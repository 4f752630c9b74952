-- Who trades, and on which account.

CREATE TABLE trading.bots (
    bot_id       text COLLATE "C" PRIMARY KEY,
    name         text NOT NULL,
    strategy     text NOT NULL,
    tag          text NOT NULL,
    redis_db     smallint NOT NULL CHECK (redis_db BETWEEN 0 AND 14),
    container    text NOT NULL,
    active       boolean NOT NULL DEFAULT true,
    wish         text NOT NULL DEFAULT 'running' CHECK (wish IN ('running', 'paused', 'stopped')),
    wish_by      text,
    wish_at      timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE trading.bots IS 'Every bot of bots.toml, and what the operator wishes it to do.';
COMMENT ON COLUMN trading.bots.bot_id IS 'The bot''s name everywhere, for example shortseller_001.';
COMMENT ON COLUMN trading.bots.name IS 'The name people read.';
COMMENT ON COLUMN trading.bots.strategy IS 'module:class of the strategy.';
COMMENT ON COLUMN trading.bots.tag IS 'One to three letters that start each of its order ids.';
COMMENT ON COLUMN trading.bots.redis_db IS 'Its own Redis database.';
COMMENT ON COLUMN trading.bots.container IS 'Its container, and its process in the demo.';
COMMENT ON COLUMN trading.bots.active IS 'False once bots.toml no longer lists it; its history stays.';
COMMENT ON COLUMN trading.bots.wish IS 'running, paused (no new entries) or stopped. Outlives upgrades and reboots.';
COMMENT ON COLUMN trading.bots.wish_by IS 'Who wished it last.';
COMMENT ON COLUMN trading.bots.wish_at IS 'When it was wished, wall clock.';
COMMENT ON COLUMN trading.bots.created_at IS 'When the bot was first registered, wall clock.';

CREATE TABLE trading.accounts (
    account_id    smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment   text COLLATE "C" NOT NULL CHECK (environment IN ('live', 'demo', 'testnet', 'simulated')),
    user_id       text COLLATE "C" NOT NULL CHECK (user_id <> ''),
    bot_id        text COLLATE "C" NOT NULL REFERENCES trading.bots,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (environment, user_id)
);
COMMENT ON TABLE trading.accounts IS 'Every Bybit account a bot has traded on. Everything else refers to it, so demo and live never mix.';
COMMENT ON COLUMN trading.accounts.account_id IS 'Our short number for (environment, user_id).';
COMMENT ON COLUMN trading.accounts.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.accounts.user_id IS 'Bybit''s userID of the account.';
COMMENT ON COLUMN trading.accounts.bot_id IS 'The one bot that trades on it.';
COMMENT ON COLUMN trading.accounts.first_seen_at IS 'When a key of this account was first used, wall clock.';

-- The number of an account, made at its first use. An account of another bot is refused: two bots would disturb each other.
CREATE FUNCTION trading.register_account(p_environment text, p_user_id text, p_bot_id text) RETURNS smallint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known trading.accounts;
BEGIN
    SELECT * INTO known FROM trading.accounts WHERE environment = p_environment AND user_id = p_user_id;
    IF NOT FOUND THEN
        INSERT INTO trading.accounts (environment, user_id, bot_id) VALUES (p_environment, p_user_id, p_bot_id)
        ON CONFLICT (environment, user_id) DO NOTHING;
        SELECT * INTO STRICT known FROM trading.accounts WHERE environment = p_environment AND user_id = p_user_id;
    END IF;
    IF known.bot_id <> p_bot_id THEN
        RAISE EXCEPTION 'The keys of % and % belong to the same % account %. Give each bot its own account.',
            p_bot_id, known.bot_id, p_environment, p_user_id USING ERRCODE = 'AL001';
    END IF;
    RETURN known.account_id;
END $$;
COMMENT ON FUNCTION trading.register_account(text, text, text) IS
    'The number of an account, made at its first use; fails with AL001 when it belongs to another bot.';
GRANT EXECUTE ON FUNCTION trading.register_account(text, text, text)
    TO alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;
GRANT UPDATE (wish, wish_by, wish_at) ON trading.bots TO alpha_c2;
