-- What people asked for, what the system said, what it could not read.

CREATE TABLE audit.commands (
    command_id  text COLLATE "C" PRIMARY KEY,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    source      text COLLATE "C" NOT NULL,
    issuer      text NOT NULL,
    issuer_role text COLLATE "C",
    chat        text,
    name        text NOT NULL,
    bot_id      text COLLATE "C",
    arguments   jsonb NOT NULL DEFAULT '{}',
    outcome     text COLLATE "C" NOT NULL,
    answer      text,
    finished_at timestamptz
);
COMMENT ON TABLE audit.commands IS 'Every attempt to steer the system, allowed or not.';
COMMENT ON COLUMN audit.commands.command_id IS 'Unique id of the attempt.';
COMMENT ON COLUMN audit.commands.issued_at IS 'Wall clock.';
COMMENT ON COLUMN audit.commands.source IS 'telegram, terminal, dashboard.';
COMMENT ON COLUMN audit.commands.issuer IS 'Who: Telegram id or user name.';
COMMENT ON COLUMN audit.commands.issuer_role IS 'viewer, operator, admin; null for a stranger.';
COMMENT ON COLUMN audit.commands.chat IS 'Where it was asked.';
COMMENT ON COLUMN audit.commands.name IS 'The command.';
COMMENT ON COLUMN audit.commands.bot_id IS 'The bot it was about.';
COMMENT ON COLUMN audit.commands.arguments IS 'Its arguments; secrets are never among them.';
COMMENT ON COLUMN audit.commands.outcome IS 'asked, refused, expired, confirmed, done, failed.';
COMMENT ON COLUMN audit.commands.answer IS 'What was answered.';
COMMENT ON COLUMN audit.commands.finished_at IS 'Wall clock; null while it is under way.';
CREATE INDEX commands_by_time ON audit.commands (issued_at);
COMMENT ON INDEX audit.commands_by_time IS 'The latest commands.';

CREATE TABLE audit.rejected_messages (
    message_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    source      text COLLATE "C" NOT NULL,
    account_id  smallint,
    bot_id      text COLLATE "C",
    topic       text COLLATE "C",
    fault       text NOT NULL,
    message     text NOT NULL
);
COMMENT ON TABLE audit.rejected_messages IS 'Messages of the exchange that could not be read, whole.';
COMMENT ON COLUMN audit.rejected_messages.message_id IS 'Number of the message.';
COMMENT ON COLUMN audit.rejected_messages.received_at IS 'Wall clock.';
COMMENT ON COLUMN audit.rejected_messages.source IS 'Which connection or endpoint.';
COMMENT ON COLUMN audit.rejected_messages.account_id IS 'The account, where known.';
COMMENT ON COLUMN audit.rejected_messages.bot_id IS 'The bot, where known.';
COMMENT ON COLUMN audit.rejected_messages.topic IS 'The topic, where known.';
COMMENT ON COLUMN audit.rejected_messages.fault IS 'What was wrong with it, in one sentence.';
COMMENT ON COLUMN audit.rejected_messages.message IS 'The message as it came.';

CREATE TABLE audit.alerts (
    alert_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    raised_at timestamptz NOT NULL DEFAULT now(),
    level     text COLLATE "C" NOT NULL CHECK (level IN ('info', 'warning', 'error', 'critical')),
    source    text COLLATE "C" NOT NULL,
    bot_id    text COLLATE "C",
    code      text COLLATE "C" NOT NULL,
    message   text NOT NULL,
    data      jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE audit.alerts IS 'Every alert, as it was raised. Everyone may add, nobody may change.';
COMMENT ON COLUMN audit.alerts.alert_id IS 'Number of the alert.';
COMMENT ON COLUMN audit.alerts.raised_at IS 'Wall clock.';
COMMENT ON COLUMN audit.alerts.level IS 'info, warning, error or critical.';
COMMENT ON COLUMN audit.alerts.source IS 'The service that raised it.';
COMMENT ON COLUMN audit.alerts.bot_id IS 'The bot it is about; null for all.';
COMMENT ON COLUMN audit.alerts.code IS 'What kind of alert, for grouping.';
COMMENT ON COLUMN audit.alerts.message IS 'What happened and what to do about it.';
COMMENT ON COLUMN audit.alerts.data IS 'Figures that belong to it.';
CREATE INDEX alerts_by_time ON audit.alerts (raised_at);
COMMENT ON INDEX audit.alerts_by_time IS 'The latest alerts.';

CREATE TABLE audit.command_centre (
    name       text COLLATE "C" PRIMARY KEY,
    state      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE audit.command_centre IS 'What the command centre must remember over a restart: update offset, acknowledged alerts, mutes.';
COMMENT ON COLUMN audit.command_centre.name IS 'Which part of the state.';
COMMENT ON COLUMN audit.command_centre.state IS 'The state.';
COMMENT ON COLUMN audit.command_centre.updated_at IS 'Wall clock.';

GRANT INSERT, SELECT ON audit.alerts TO alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;
GRANT INSERT, SELECT ON audit.rejected_messages TO alpha_listener, alpha_sync;
GRANT SELECT ON audit.rejected_messages TO alpha_c2;
GRANT SELECT, INSERT ON audit.commands TO alpha_c2;
GRANT UPDATE (outcome, answer, finished_at) ON audit.commands TO alpha_c2;
GRANT SELECT, INSERT, UPDATE, DELETE ON audit.command_centre TO alpha_c2;
