-- Made-up customers. Parameters: first (how many there are), count, events, now, since.
SELECT setseed(0.42);

CREATE TEMP TABLE made ON COMMIT DROP AS
WITH numbers AS (
    SELECT n, md5('org' || n) AS hash, random() AS r, random() AS s
      FROM generate_series(%(first)s, %(first)s + %(count)s - 1) n
), words AS (
    SELECT *, (ARRAY['Northwind','Bluefin','Lakeside','Copper','Evergreen','Juniper','Redwood','Harbour',
                     'Summit','Willow','Falcon','Granite','Maple','Orchard','Polar','Quartz','Riverside',
                     'Silver','Tundra','Violet'])[n %% 20 + 1] || ' ' ||
              (ARRAY['Labs','Analytics','Logistics','Health','Media','Robotics','Foods','Energy','Travel',
                     'Studios','Finance','Systems','Retail','Mobility','Networks','Insurance'])
                    [(n / 20) %% 16 + 1] || CASE WHEN n < 320 THEN '' ELSE ' ' || n / 320 + 1 END AS name,
           CASE WHEN n %% 20 < 14 THEN 'starter' WHEN n %% 20 < 19 THEN 'pro' ELSE 'business' END AS plan,
           CASE WHEN n %% 50 < 37 THEN 'active' WHEN n %% 50 < 44 THEN 'trialing'
                WHEN n %% 50 < 46 THEN 'past_due' WHEN n %% 50 < 48 THEN 'canceled'
                WHEN n %% 50 < 49 THEN 'unpaid' ELSE 'paused' END AS status
      FROM numbers
), dated AS (
    SELECT *, CASE WHEN status = 'trialing' THEN %(now)s - r * interval '13 days'
                   ELSE %(now)s - interval '14 days' - r * r * interval '200 days' END AS created
      FROM words
)
SELECT n, 'org_' || upper(left(hash, 26)) AS org_id, 'cus_' || left(hash, 14) AS customer,
       'sub_1' || left(hash, 20) AS subscription, hash, name, plan, status, created,
       created + interval '14 days' AS trial_ends,
       %(now)s - interval '3 days' AS past_due,
       -- Most use a part of what they have, some nearly all of it.
       CASE WHEN n %% 23 = 5 THEN 0.86 + 0.14 * s ELSE 0.75 * s END AS share,
       (SELECT jsonb_object_agg(a.metric, jsonb_build_object(
                   'included', a.included_units, 'overage', a.overage))
          FROM billing_planallowance a JOIN billing_plan p ON p.id = a.plan_id
         WHERE p.code = dated.plan) AS allowances,
       (SELECT p.amount FROM billing_plan p WHERE p.code = dated.plan) AS amount,
       status NOT IN ('canceled', 'unpaid', 'paused') AS access
  FROM dated;

INSERT INTO billing_organization (org_id, name, email, stripe_customer_id, created_at)
SELECT org_id, name, 'owner@' || replace(lower(name), ' ', '-') || '.example', customer, created
  FROM made;

INSERT INTO tokens_orgaccess (org_id, suspended_at, suspended_reason, installation_limit,
                              generation, created_at)
SELECT org_id, CASE WHEN n %% 400 = 399 THEN %(now)s - interval '2 days' END,
       CASE WHEN n %% 400 = 399 THEN 'Terms of use' ELSE '' END, 5, 1, created
  FROM made;

INSERT INTO usage_usageevent (
    org_id, request_id, metric, value, occurred_at, counted_at, recorded_at, period_start,
    period_key, used_after, remaining_after, counter_version)
WITH raw AS (
    SELECT g, %(first)s + floor(%(count)s * power(random(), 1.6))::int AS n,
           CASE WHEN random() < 0.7 THEN 'api_call' ELSE 'compute_ms' END AS metric,
           power(random(), 0.85) AS r, random() AS weekday
      FROM generate_series(1, %(events)s) g
), placed AS (
    SELECT raw.*, m.org_id, m.share, m.created, (m.allowances -> raw.metric ->> 'included')::bigint AS included,
           greatest(m.created, %(since)s) + r * (%(now)s - greatest(m.created, %(since)s)) AS at
      FROM raw JOIN made m USING (n)
), timed AS (
    -- At weekends most are at rest.
    SELECT org_id, share, metric, included, g,
           CASE WHEN extract(isodow FROM at) > 5 AND weekday < 0.65
                THEN greatest(created, %(since)s, at - interval '3 days') ELSE at END AS at
      FROM placed
), counted AS (
    SELECT *, date_trunc('month', at, 'UTC') AS period,
           count(*) OVER (PARTITION BY org_id, metric, date_trunc('month', at, 'UTC')) AS c
      FROM timed
), valued AS (
    SELECT *, least(1000000000, greatest(1, floor(included * share / c)))::bigint AS value FROM counted
)
SELECT org_id, 'req-' || md5(%(first)s || 'r' || g), metric, value, at, at, at, period,
       to_char(period AT TIME ZONE 'UTC', 'YYYY-MM'), sum(value) OVER w,
       greatest(0, included - sum(value) OVER w), row_number() OVER w + 1
  FROM valued
WINDOW w AS (PARTITION BY org_id, metric, period ORDER BY at, g)
 ORDER BY at;

INSERT INTO usage_usagevoid (
    org_id, request_id, metric, value, period_start, period_key, reason, voided_by, voided_at,
    used_after, remaining_after, counter_version)
SELECT e.org_id, e.request_id, e.metric, e.value, e.period_start, e.period_key,
       'Counted during our outage', 'staff:1', e.counted_at + interval '1 hour',
       e.used_after, e.remaining_after, e.counter_version + 1
  FROM usage_usageevent e JOIN made m USING (org_id)
 WHERE get_byte(decode(md5(e.request_id), 'hex'), 0) = 7
   AND get_byte(decode(md5(e.request_id), 'hex'), 1) < 64;

INSERT INTO quotas_adjustment (org_id, metric, period_start, units, reason, made_by, made_at)
SELECT org_id, 'api_call', date_trunc('month', %(now)s::timestamptz, 'UTC'), 2500,
       'Goodwill, ticket 4711', 'staff:1', %(now)s - interval '1 day'
  FROM made
 WHERE n %% 40 = 3 AND EXISTS (
       SELECT FROM usage_usageevent e
        WHERE e.org_id = made.org_id AND e.metric = 'api_call'
          AND e.period_start = date_trunc('month', %(now)s::timestamptz, 'UTC'));

INSERT INTO quotas_usagecounter (
    org_id, metric, period_key, period_start, period_end, counted, forgiven, forgiven_version,
    included, adjusted, overage, access, valid_until, version, closed_at, created_at, updated_at)
SELECT e.org_id, e.metric, e.period_key, e.period_start, e.period_start + interval '1 month',
       sum(e.value) - coalesce(sum(v.value), 0), 0, 0,
       (m.allowances -> e.metric ->> 'included')::bigint,
       coalesce((SELECT sum(units) FROM quotas_adjustment a
                  WHERE a.org_id = e.org_id AND a.metric = e.metric
                    AND a.period_start = e.period_start), 0),
       m.allowances -> e.metric ->> 'overage', m.access,
       least(e.period_start + interval '1 month',
             CASE WHEN m.status = 'trialing' THEN m.trial_ends + interval '1 day'
                  WHEN m.status = 'past_due' THEN m.past_due + interval '7 days' END),
       count(*) + count(v.id) + 2,
       CASE WHEN e.period_start < date_trunc('month', %(now)s::timestamptz, 'UTC')
            THEN e.period_start + interval '1 month 1 hour' END,
       min(e.counted_at), max(e.counted_at)
  FROM usage_usageevent e
  JOIN made m ON m.org_id = e.org_id
  LEFT JOIN usage_usagevoid v ON v.org_id = e.org_id AND v.request_id = e.request_id
 GROUP BY e.org_id, e.metric, e.period_key, e.period_start, m.allowances, m.access, m.status,
          m.trial_ends, m.past_due;

INSERT INTO quotas_denial (
    org_id, metric, code, minute, counter_version, period_start, period_end, period_key, used,
    included, count, first_at, first_request_id, first_correlation_id, last_at, last_request_id,
    last_correlation_id)
SELECT c.org_id, c.metric, CASE WHEN m.access THEN 'RATE_LIMITED' ELSE 'PAYMENT_REQUIRED' END, minute,
       c.version, c.period_start, c.period_end, c.period_key, c.counted, c.included + c.adjusted,
       k %% 5 + 1, minute, 'req_' || x.request, 'req_' || x.request, minute + interval '40 seconds',
       'req_' || x.request || 'z', 'req_' || x.request || 'z'
  FROM quotas_usagecounter c
  JOIN made m ON m.org_id = c.org_id AND (m.n %% 23 = 5 OR NOT m.access)
 CROSS JOIN generate_series(1, 12) k
 CROSS JOIN LATERAL (
       SELECT date_trunc('minute', %(now)s - k * k * interval '3 hours') AS minute,
              left(md5(c.org_id || c.metric || k), 20) AS request) x
 WHERE c.closed_at IS NULL AND minute >= c.period_start AND minute >= m.created;

INSERT INTO billing_subscription (
    stripe_subscription_id, org_id, stripe_customer_id, status, plan_code, stripe_item_id,
    stripe_schedule_id, current_period_start, current_period_end, billing_cycle_anchor,
    trial_ends_at, scheduled_plan_code, created_at, fetch_requested, fetch_applied)
SELECT subscription, org_id, customer, status, plan, '', '',
       date_trunc('month', %(now)s::timestamptz, 'UTC'),
       date_trunc('month', %(now)s::timestamptz, 'UTC') + interval '1 month', created, trial_ends, '',
       created, 1, 1
  FROM made;

INSERT INTO billing_invoiceref (
    stripe_invoice_id, org_id, stripe_customer_id, stripe_subscription_id, status, total,
    amount_due, currency, hosted_invoice_url, created_at, updated_at, fetch_requested, fetch_applied)
SELECT 'in_1' || left(hash, 18) || k, org_id, customer, subscription,
       CASE WHEN k = 1 AND status IN ('past_due', 'unpaid') THEN 'open' ELSE 'paid' END,
       amount, amount, 'usd', '', %(now)s - k * interval '30 days', %(now)s - k * interval '30 days', 1, 1
  FROM made CROSS JOIN generate_series(1, 2) k
 WHERE created < %(now)s - k * interval '30 days';

INSERT INTO billing_operation (
    uuid, kind, org_id, state, request, error, attempts, key_generation, lease_until, created_at,
    finished_at, notified_at)
SELECT hash::uuid, 'sign_up', org_id, 'done', '{}', '', 1, 0, created, created, created, created
  FROM made;

INSERT INTO webhooks_webhookevent (
    event_id, type, object_id, org_id, api_version, correlation_id, state, refused, attempts,
    due_at, error, created_at, received_at, processed_at)
SELECT 'evt_1' || left(hash, 16) || k,
       (ARRAY['customer.subscription.updated', 'invoice.paid', 'customer.subscription.created'])[k],
       CASE k WHEN 2 THEN 'in_1' || left(hash, 18) || 1 ELSE subscription END, org_id, '',
       'corr-' || left(hash, 12) || k, state, '', CASE state WHEN 'parked' THEN 8 ELSE 1 END, at,
       CASE state WHEN 'parked' THEN 'Stripe answered 500' ELSE '' END, at, at,
       CASE state WHEN 'parked' THEN NULL ELSE at + interval '400 ms' END
  FROM made CROSS JOIN generate_series(1, 3) k
 CROSS JOIN LATERAL (
       SELECT created + (4 - k) * interval '1 day' * (n %% 4 + 1) / 4 AS at,
              CASE WHEN n %% 1200 = 60 AND k = 1 THEN 'parked' ELSE 'processed' END AS state) x
 ORDER BY at;

INSERT INTO tokens_tokenfamily (id, org_id, domain, scopes, created_at, last_refreshed_at,
                                expires_at, revoked_reason)
SELECT 'fam_' || upper(left(md5(hash || k), 26)), org_id,
       (ARRAY['app', 'www'])[k] || '.' || replace(lower(name), ' ', '-') || '.example',
       ARRAY['usage:write', 'entitlements:read'], created, %(now)s - interval '7 minutes' * (n %% 9 + 1),
       %(now)s + interval '30 days', ''
  FROM made CROSS JOIN generate_series(1, 2) k
 WHERE k = 1 OR n %% 3 = 0;

INSERT INTO tokens_auditentry (at, org_id, what, who, family_id, detail, request_id, correlation_id)
SELECT f.created_at + k * interval '90 seconds', f.org_id, (ARRAY['code_issued', 'activated'])[k],
       CASE k WHEN 1 THEN 'sign-up' ELSE f.id END, CASE k WHEN 1 THEN '' ELSE f.id END,
       jsonb_build_object('domain', f.domain), 'req_' || left(md5(f.id || k), 20),
       'req_' || left(md5(f.id || k), 20)
  FROM tokens_tokenfamily f JOIN made USING (org_id) CROSS JOIN generate_series(1, 2) k;
