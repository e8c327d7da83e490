-- Record one use or many of one organisation, decided greedily in input order.
--
-- One call is one transaction: the events, their counters and the answers are
-- committed together or not at all. It runs on the server so that a hot counter
-- is locked for the time of this function and no round trip longer.
--
-- Rows returned with kind 'event' answer the input in order; kind 'counter' are
-- the counters as this call left them (or found them, where it denied or
-- repeated), to be published. Outcomes:
--   accepted, duplicate           counted now / answered from the ledger
--   conflict (detail: the field), voided
--   early, late                   outside the window
--   open                          no counter for that instant: open it, call again
--   refresh                       the counter's valid_until has passed: derive it, call again
--   no_access, denied             402 / 429
-- When any event is `open` or `refresh`, nothing was written.
--
-- READ COMMITTED gives each statement below its own snapshot: the keys are read
-- again after the counters are locked, so a twin that committed while we waited
-- is seen as a duplicate and not as a denial.
CREATE OR REPLACE FUNCTION usage_record(
    p_org text,
    p_now timestamptz,
    p_ahead interval,
    p_late_block interval,
    p_late_allow interval,
    p_metric text[],
    p_value bigint[],
    p_occurred timestamptz[],
    p_request text[],
    p_first int[]  -- for each event, the position of the first one with its request id
) RETURNS TABLE (
    kind text, ord int, outcome text, detail text,
    metric text, period_key text, period_start timestamptz, period_end timestamptz,
    used bigint, remaining bigint, units_limit bigint,
    version bigint, overage text, access boolean, valid_until timestamptz, epoch int
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    ev record;
    c record;
    n_counters int := 0;
    k int;
    i int;
    v_at timestamptz;
    v_room boolean;
    v_pending boolean := false;
    v_inserted int;
    v_epoch int;
    c_id bigint[] := '{}';
    c_metric text[] := '{}';
    c_key text[] := '{}';
    c_start timestamptz[] := '{}';
    c_end timestamptz[] := '{}';
    c_used bigint[] := '{}';
    c_added bigint[] := '{}';
    c_limit bigint[] := '{}';
    c_version bigint[] := '{}';
    c_overage text[] := '{}';
    c_access boolean[] := '{}';
    c_valid timestamptz[] := '{}';
    c_closed boolean[] := '{}';
    c_threshold bigint[] := '{}';
    d_counter bigint[] := '{}'; -- counters of repeats: who counted may not have published
    v_counter bigint;
    a_by_first int[];           -- position in the a_ arrays, by p_first
    a_metric text[] := '{}';
    a_value bigint[] := '{}';
    a_occurred timestamptz[] := '{}';
    a_counted timestamptz[] := '{}';
    a_request text[] := '{}';
    a_counter int[] := '{}';
    a_used bigint[] := '{}';
    a_remaining bigint[] := '{}';
BEGIN
    SELECT copy_epoch INTO v_epoch FROM contract_installation WHERE id = 1;

    -- 1. Is there anything new at all? A pure repeat must not wait for a lock.
    -- (A scalar subquery and no anti-join: planned before the ledger has statistics,
    -- that one would read every event of the organisation instead of one key.)
    IF EXISTS (
        SELECT 1 FROM unnest(p_request) AS r(id)
         WHERE (SELECT true FROM usage_usageevent e
                 WHERE e.org_id = p_org AND e.request_id = r.id LIMIT 1) IS NULL
    ) THEN
        -- 2. Lock the counters that an event falls into, always in one order.
        FOR c IN
            SELECT uc.* FROM quotas_usagecounter uc
             WHERE uc.org_id = p_org
               AND uc.metric = ANY (p_metric)
               AND uc.period_start <= p_now
               AND EXISTS (
                   SELECT 1 FROM unnest(p_metric, p_occurred) AS u(m, o)
                    WHERE u.m = uc.metric
                      AND least(u.o, p_now) >= uc.period_start
                      AND least(u.o, p_now) < uc.period_end)
             ORDER BY uc.metric, uc.period_start
               FOR NO KEY UPDATE
        LOOP
            n_counters := n_counters + 1;
            c_id := c_id || c.id;
            c_metric := c_metric || c.metric::text;
            c_key := c_key || c.period_key::text;
            c_start := c_start || c.period_start;
            c_end := c_end || c.period_end;
            c_used := c_used || (c.counted - c.forgiven);
            c_added := c_added || 0::bigint;
            c_limit := c_limit || greatest(0, c.included + c.adjusted);
            c_version := c_version || c.version;
            c_overage := c_overage || c.overage::text;
            c_access := c_access || c.access;
            c_valid := c_valid || c.valid_until;
            c_closed := c_closed || (c.closed_at IS NOT NULL);
            c_threshold := c_threshold || c.next_threshold_at;
        END LOOP;
    END IF;
    a_by_first := array_fill(0, ARRAY[cardinality(p_request)]);

    -- 3. Decide, with the keys read anew.
    FOR ev IN
        SELECT u.metric, u.value, u.occurred, u.request, u.first, u.ord::int AS ord,
               e.id AS event_id, e.metric AS e_metric, e.value AS e_value,
               e.occurred_at AS e_occurred, e.period_key AS e_key, e.period_start AS e_start,
               e.used_after, e.remaining_after, e.voided
          FROM unnest(p_metric, p_value, p_occurred, p_request, p_first)
               WITH ORDINALITY AS u(metric, value, occurred, request, first, ord)
          LEFT JOIN LATERAL (
               SELECT s.*, EXISTS (SELECT 1 FROM usage_usagevoid w
                                    WHERE w.org_id = p_org AND w.request_id = s.request_id)
                           AS voided
                 FROM usage_usageevent s
                WHERE s.org_id = p_org AND s.request_id = u.request
                LIMIT 1) e ON true
         ORDER BY u.ord
    LOOP
        kind := 'event'; ord := ev.ord; detail := NULL; metric := ev.metric;
        period_key := NULL; period_start := NULL; period_end := NULL;
        used := NULL; remaining := NULL; units_limit := NULL;

        i := a_by_first[ev.first];
        IF ev.event_id IS NOT NULL OR i > 0 THEN
            -- A repeat, of a stored event or of one accepted a moment ago.
            IF ev.event_id IS NULL THEN
                ev.e_metric := a_metric[i]; ev.e_value := a_value[i];
                ev.e_occurred := a_occurred[i]; ev.voided := false;
                ev.e_key := c_key[a_counter[i]]; ev.e_start := c_start[a_counter[i]];
                ev.used_after := a_used[i]; ev.remaining_after := a_remaining[i];
            END IF;
            outcome := 'conflict';
            IF ev.e_metric <> ev.metric THEN detail := 'metric';
            ELSIF ev.e_value <> ev.value THEN detail := 'value';
            ELSIF ev.e_occurred <> ev.occurred THEN detail := 'occurredAt';
            ELSIF ev.voided THEN outcome := 'voided';
            ELSE
                outcome := 'duplicate';
                period_key := ev.e_key; period_start := ev.e_start;
                used := ev.used_after; remaining := ev.remaining_after;
                SELECT q.id, q.period_end, greatest(0, q.included + q.adjusted)
                  INTO v_counter, period_end, units_limit
                  FROM quotas_usagecounter q
                 WHERE q.org_id = p_org AND q.metric = ev.metric AND q.period_start = ev.e_start;
                IF NOT v_counter = ANY (c_id || d_counter) THEN
                    d_counter := d_counter || v_counter;
                END IF;
            END IF;
            RETURN NEXT;
            CONTINUE;
        END IF;

        IF ev.occurred > p_now + p_ahead THEN
            outcome := 'early'; RETURN NEXT; CONTINUE;
        END IF;
        v_at := least(ev.occurred, p_now);
        k := 0;
        FOR i IN 1 .. n_counters LOOP
            IF c_metric[i] = ev.metric AND v_at >= c_start[i] AND v_at < c_end[i] THEN
                k := i; EXIT;
            END IF;
        END LOOP;
        IF k = 0 THEN
            outcome := 'open'; v_pending := true; RETURN NEXT; CONTINUE;
        END IF;
        period_key := c_key[k]; period_start := c_start[k]; period_end := c_end[k];
        units_limit := c_limit[k];
        IF c_closed[k] OR p_now >= c_end[k] + (
               CASE WHEN c_overage[k] = 'allow' THEN p_late_allow ELSE p_late_block END) THEN
            outcome := 'late'; RETURN NEXT; CONTINUE;
        END IF;
        IF p_now >= c_valid[k] THEN
            outcome := 'refresh'; v_pending := true; RETURN NEXT; CONTINUE;
        END IF;
        v_room := c_overage[k] = 'allow' OR c_used[k] + ev.value <= c_limit[k];
        IF NOT c_access[k] OR NOT v_room THEN
            outcome := CASE WHEN c_access[k] THEN 'denied' ELSE 'no_access' END;
            used := c_used[k]; remaining := greatest(0, c_limit[k] - c_used[k]);
            RETURN NEXT; CONTINUE;
        END IF;
        c_used[k] := c_used[k] + ev.value;
        c_added[k] := c_added[k] + ev.value;
        outcome := 'accepted';
        used := c_used[k]; remaining := greatest(0, c_limit[k] - c_used[k]);
        a_metric := a_metric || ev.metric;
        a_value := a_value || ev.value;
        a_occurred := a_occurred || ev.occurred;
        a_counted := a_counted || v_at;
        a_request := a_request || ev.request;
        a_counter := a_counter || k;
        a_used := a_used || used;
        a_remaining := a_remaining || remaining;
        a_by_first[ev.first] := cardinality(a_value);
        RETURN NEXT;
    END LOOP;
    IF v_pending THEN
        RETURN;
    END IF;

    -- 4. Write the events whole, in the order of their keys, so that two calls
    -- with the same keys wait for each other instead of locking each other out.
    IF cardinality(a_value) > 0 THEN
        INSERT INTO usage_usageevent (
            org_id, request_id, metric, value, occurred_at, counted_at, recorded_at,
            period_start, period_key, used_after, remaining_after, counter_version)
        SELECT p_org, x.request, x.metric, x.value, x.occurred, x.counted, p_now,
               c_start[x.counter], c_key[x.counter], x.used, x.remaining,
               c_version[x.counter] + 1
          FROM unnest(a_request, a_metric, a_value, a_occurred, a_counted, a_counter,
                      a_used, a_remaining)
               AS x(request, metric, value, occurred, counted, counter, used, remaining)
         ORDER BY x.request
            ON CONFLICT (org_id, request_id) DO NOTHING;
        GET DIAGNOSTICS v_inserted = ROW_COUNT;
        IF v_inserted <> cardinality(a_value) THEN
            -- A twin on another counter won: what was decided here no longer holds.
            RAISE EXCEPTION 'usage_record: a twin was first' USING ERRCODE = 'MG001';
        END IF;
    END IF;

    kind := 'counter'; outcome := NULL; detail := NULL; epoch := v_epoch;
    FOR k IN 1 .. n_counters LOOP
        IF c_added[k] > 0 THEN
            IF c_used[k] >= c_threshold[k] THEN
                -- Naming next_threshold_at calls the trigger that writes what was crossed.
                UPDATE quotas_usagecounter q
                   SET counted = q.counted + c_added[k],
                       version = q.version + 1,
                       next_threshold_at = NULL,
                       updated_at = greatest(q.updated_at, p_now)
                 WHERE q.id = c_id[k];
            ELSE
                UPDATE quotas_usagecounter q
                   SET counted = q.counted + c_added[k],
                       version = q.version + 1,
                       updated_at = greatest(q.updated_at, p_now)
                 WHERE q.id = c_id[k];
            END IF;
            c_version[k] := c_version[k] + 1;
        END IF;
        ord := k; metric := c_metric[k]; period_key := c_key[k];
        period_start := c_start[k]; period_end := c_end[k];
        used := c_used[k]; remaining := greatest(0, c_limit[k] - c_used[k]);
        units_limit := c_limit[k]; version := c_version[k]; overage := c_overage[k];
        access := c_access[k]; valid_until := c_valid[k];
        RETURN NEXT;
    END LOOP;
    IF cardinality(d_counter) > 0 THEN
        RETURN QUERY
        SELECT 'counter', 0, NULL, NULL,
               q.metric::text, q.period_key::text, q.period_start, q.period_end,
               q.counted - q.forgiven,
               greatest(0, q.included + q.adjusted - q.counted + q.forgiven),
               greatest(0, q.included + q.adjusted),
               q.version, q.overage::text, q.access, q.valid_until, v_epoch
          FROM quotas_usagecounter q
         WHERE q.id = ANY (d_counter);
    END IF;
END
$$;
