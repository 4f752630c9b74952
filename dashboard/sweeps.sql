-- name: studies
-- Each sweep with its progress and its verdict.
SELECT s.name, s.made_at, s.stopped, s.config->>'strategy' AS strategy, s.config->>'objective' AS objective,
    s.config->>'sampler' AS sampler, (s.config->>'trials')::integer AS wanted,
    t.done, t.failed, t.best, c.claimed + o.running AS running,
    v.trials AS judged, v.deflated, v.overfitting, v.significant, v.out_of_sample_return, v.report
FROM (SELECT * FROM alpha_sweeps ORDER BY made_at DESC, study_id DESC LIMIT $1) s
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE why = '') AS done, count(*) FILTER (WHERE why <> '') AS failed,
        max(value) FILTER (WHERE why = '' AND value <> 'NaN') AS best
    FROM alpha_trials WHERE study_id = s.study_id) t
CROSS JOIN LATERAL (
    SELECT coalesce(sum(count), 0) AS claimed FROM alpha_chunks
    WHERE study_id = s.study_id AND NOT done AND beat_at > now() - make_interval(secs => $2)) c
CROSS JOIN LATERAL (
    SELECT count(*) AS running FROM trials JOIN trial_heartbeats USING (trial_id)
    WHERE trials.study_id = s.study_id AND state = 'RUNNING' AND heartbeat > localtimestamp - make_interval(secs => $2)) o
LEFT JOIN alpha_verdicts v ON v.study_id = s.study_id
ORDER BY s.made_at DESC, s.study_id DESC;

-- name: has_verdicts
-- Whether any sweep was ever made here.
SELECT to_regclass('alpha_verdicts') IS NOT NULL;
