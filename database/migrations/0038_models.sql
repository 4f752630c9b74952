-- Trained models: which may trade, what they said at each bar, and what came of it.

CREATE TABLE trading.models (
    version       text COLLATE "C" PRIMARY KEY CHECK (version ~ '^[0-9a-f]{64}$'),
    name          text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{1,31}$'),
    stage         text COLLATE "C" NOT NULL CHECK (stage IN ('shadow', 'live', 'retired')),
    is_null       boolean NOT NULL,
    shadow_days   integer NOT NULL CHECK (shadow_days >= 1),
    manifest      jsonb NOT NULL,
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    stage_by      text NOT NULL,
    stage_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX models_one_live ON trading.models (name) WHERE stage = 'live';
COMMENT ON TABLE trading.models IS 'One row per registered artefact. At most one version of a name is live; shadows are scored and never traded.';
COMMENT ON COLUMN trading.models.version IS 'SHA-256 of the artefact''s manifest, which holds that of its model file.';
COMMENT ON COLUMN trading.models.is_null IS 'True when training could not tell it from chance: such a model is never promoted.';
COMMENT ON COLUMN trading.models.shadow_days IS 'Days of business time between its first and newest shadow score before it may be promoted.';
COMMENT ON COLUMN trading.models.manifest IS 'The artefact''s manifest without its reference rows.';
COMMENT ON COLUMN trading.models.stage_by IS 'Who put it into its stage: source:person.';

CREATE TABLE trading.predictions (
    account_id    smallint NOT NULL REFERENCES trading.accounts,
    version       text COLLATE "C" NOT NULL REFERENCES trading.models,
    symbol        text COLLATE "C" NOT NULL,
    closed_at     timestamptz NOT NULL,
    bot_id        text COLLATE "C" NOT NULL,
    stage         text COLLATE "C" NOT NULL CHECK (stage IN ('shadow', 'live')),
    features_hash text COLLATE "C" NOT NULL,
    features      real[],
    score         double precision,
    reason        text NOT NULL DEFAULT '',
    latency_ms    real,
    outcome       double precision,
    made_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, version, symbol, closed_at),
    CHECK ((score IS NULL) = (reason <> ''))
);
COMMENT ON TABLE trading.predictions IS 'One row per model, symbol and closed bar, written before a bot uses the score.';
COMMENT ON COLUMN trading.predictions.closed_at IS 'When the bar closed, business time.';
COMMENT ON COLUMN trading.predictions.features_hash IS 'First 16 hex digits of the SHA-256 of the features as float32, little-endian; "" without features.';
COMMENT ON COLUMN trading.predictions.features IS 'The features that were sent, in the manifest''s order; null where candles were missing.';
COMMENT ON COLUMN trading.predictions.score IS 'The model''s output, a probability for a classifier; null when there is none.';
COMMENT ON COLUMN trading.predictions.reason IS 'Why there is no score; "" when there is one.';
COMMENT ON COLUMN trading.predictions.latency_ms IS 'Wall-clock milliseconds from the request to the answer.';
COMMENT ON COLUMN trading.predictions.outcome IS 'Net return of the trade that training would have labelled there, a fraction; null until it is ripe.';

CREATE TABLE trading.model_checks (
    check_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version    text COLLATE "C" NOT NULL REFERENCES trading.models,
    checked_at timestamptz NOT NULL DEFAULT now(),
    rows       integer NOT NULL CHECK (rows >= 0),
    differing  integer NOT NULL CHECK (differing BETWEEN 0 AND rows),
    text       text NOT NULL
);
COMMENT ON TABLE trading.model_checks IS 'Comparisons of the features that were sent with those recomputed from candles: none may differ. Append only.';

-- Puts an artefact on record as a shadow. Repeating it changes nothing.
CREATE FUNCTION trading.register_model(given_version text, given jsonb, by_whom text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tried integer;
    chance boolean := given->>'verdict' IS DISTINCT FROM 'pass';
    found text;
BEGIN
    -- Fewer attempts than versions on record: the list of attempts was lost, and its p-value means nothing.
    SELECT count(*) INTO tried FROM trading.models AS m WHERE m.name = given->>'name' AND m.version <> given_version;
    IF (given->'metrics'->>'attempts')::integer <= tried THEN
        chance := true;
    END IF;
    INSERT INTO trading.models (version, name, stage, is_null, shadow_days, manifest, registered_by, stage_by)
    VALUES (given_version, given->>'name', 'shadow', chance, (given->>'shadow_days')::integer, given, by_whom, by_whom)
    ON CONFLICT (version) DO NOTHING;
    SELECT m.stage INTO found FROM trading.models AS m WHERE m.version = given_version;
    RETURN found;
END $$;
COMMENT ON FUNCTION trading.register_model(text, jsonb, text) IS 'Puts an artefact on record as a shadow; returns its stage.';

-- AL010: refused, with a sentence for the operator.
CREATE FUNCTION trading.promote_model(given_version text, by_whom text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    model trading.models;
    span interval;
    former text;
BEGIN
    SELECT * INTO model FROM trading.models AS m WHERE m.version = given_version FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'No such version is registered.' USING ERRCODE = 'AL010';
    END IF;
    IF model.is_null THEN
        RAISE EXCEPTION '% % is null: it cannot be told from chance and is never promoted.', model.name, left(given_version, 12)
            USING ERRCODE = 'AL010';
    END IF;
    IF model.stage = 'live' THEN
        RETURN '';
    END IF;
    SELECT coalesce(max(p.closed_at) - min(p.closed_at), interval '0') INTO span
    FROM trading.predictions AS p WHERE p.version = given_version AND p.stage = 'shadow' AND p.score IS NOT NULL;
    IF span < make_interval(days => model.shadow_days) THEN
        RAISE EXCEPTION '% % has been a shadow for % days; % are needed.', model.name, left(given_version, 12),
            round((extract(epoch FROM span) / 86400)::numeric, 1), model.shadow_days USING ERRCODE = 'AL010';
    END IF;
    UPDATE trading.models AS m SET stage = 'retired', stage_by = by_whom, stage_at = now()
    WHERE m.name = model.name AND m.stage = 'live' RETURNING m.version INTO former;
    UPDATE trading.models AS m SET stage = 'live', stage_by = by_whom, stage_at = now() WHERE m.version = given_version;
    RETURN coalesce(former, '');
END $$;
COMMENT ON FUNCTION trading.promote_model(text, text) IS 'Makes a shadow live and retires the live version of its name, whose version it returns. Refuses a null model and one that was a shadow for too short a time.';

CREATE FUNCTION trading.retire_model(given_version text, by_whom text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH changed AS (
        UPDATE trading.models AS m SET stage = 'retired', stage_by = by_whom, stage_at = now()
        WHERE m.version = given_version AND m.stage <> 'retired' RETURNING 1
    )
    SELECT EXISTS (SELECT FROM changed)
$$;
COMMENT ON FUNCTION trading.retire_model(text, text) IS 'Takes a model out of shadow and trading; false when it was retired already.';

GRANT SELECT ON trading.models, trading.predictions, trading.model_checks TO alpha_strategy, alpha_c2, alpha_readonly;
GRANT INSERT ON trading.predictions TO alpha_strategy;
GRANT INSERT ON trading.model_checks TO alpha_c2;
GRANT UPDATE (outcome) ON trading.predictions TO alpha_strategy;
GRANT EXECUTE ON FUNCTION trading.register_model(text, jsonb, text), trading.promote_model(text, text), trading.retire_model(text, text)
    TO alpha_c2;
