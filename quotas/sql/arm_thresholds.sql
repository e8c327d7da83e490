-- Keep `next_threshold_at` of a counter right, and write down what was crossed.
--
-- Runs before a counter is inserted, and before an update that names a column of its limit, its
-- `forgiven` or `next_threshold_at` itself: whatever value that one is given, it is computed here.
-- Recording use names none of them while it stays below `next_threshold_at`, so that the hot path
-- pays for one comparison; past it (and to void) it sets `next_threshold_at` to come here.
--
-- A percentage of a limit is reached at ceil(limit * percent / 100) units. It is crossed by a
-- change that begins below it and ends at or past it, each side by its own limit: by use, or by a
-- limit that was lowered. Each is written once per period, metric and limit. The limit of a period
-- that is over crosses nothing: what is taken from it then was carried into the next, or expired.
CREATE OR REPLACE FUNCTION quotas_arm_thresholds() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_percents smallint[];
    v_used bigint := NEW.counted - NEW.forgiven;
    v_limit bigint := greatest(0, NEW.included + NEW.adjusted);
    v_was_used bigint;
    v_was_limit bigint;
BEGIN
    SELECT percents INTO v_percents FROM quotas_thresholdchoice WHERE org_id = NEW.org_id;
    IF NOT FOUND THEN
        v_percents := '{50, 80, 100}';
    END IF;
    IF TG_OP = 'UPDATE' AND v_limit > 0
       AND (NEW.counted > OLD.counted OR NEW.updated_at < NEW.period_end) THEN
        v_was_used := OLD.counted - OLD.forgiven;
        v_was_limit := greatest(0, OLD.included + OLD.adjusted);
        INSERT INTO quotas_thresholdcrossed (
            org_id, metric, period_key, period_start, percent, units_limit, used, crossed_at)
        SELECT NEW.org_id, NEW.metric, NEW.period_key, NEW.period_start, p, v_limit, v_used,
               NEW.updated_at
          FROM unnest(v_percents) AS p
         WHERE v_used >= ceil(v_limit::numeric * p / 100)
           AND v_was_used < ceil(v_was_limit::numeric * p / 100)
         ORDER BY p
            ON CONFLICT (org_id, metric, period_start, units_limit, percent) DO NOTHING;
    END IF;
    SELECT min(ceil(v_limit::numeric * p / 100)) INTO NEW.next_threshold_at
      FROM unnest(v_percents) AS p
     WHERE v_used < ceil(v_limit::numeric * p / 100)
       AND NOT EXISTS (
           SELECT FROM quotas_thresholdcrossed t
            WHERE t.org_id = NEW.org_id AND t.metric = NEW.metric
              AND t.period_start = NEW.period_start
              AND t.units_limit = v_limit AND t.percent = p);
    RETURN NEW;
END;
$$;

CREATE OR REPLACE TRIGGER arm_thresholds
    BEFORE INSERT OR UPDATE OF included, adjusted, forgiven, next_threshold_at
    ON quotas_usagecounter
    FOR EACH ROW EXECUTE FUNCTION quotas_arm_thresholds();
