"""The application may ask how old the oldest snapshots are, and nothing else of other sessions.

The function runs as the schema's owner, which needs pg_read_all_stats to see sessions that are
not its own; what they run it does not tell.
"""

from django.db import migrations

# Rows of other databases are not held up, but for what a replica or a slot keeps. Vacuum's
# own snapshots hold up nothing.
_CREATE = """
    CREATE FUNCTION contract_oldest_snapshots()
    RETURNS TABLE (sees_all boolean, kind text, seconds double precision, transactions bigint)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), s.kind,
               max(extract(epoch FROM clock_timestamp() - s.began_at))::double precision,
               max(age(s.xmin))::bigint
          FROM (SELECT CASE backend_type WHEN 'walsender' THEN 'replica' ELSE 'session' END,
                       xact_start, backend_xmin
                  FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
                   AND (backend_type = 'walsender' OR datname = current_database())
                   AND backend_type <> 'autovacuum worker'
                UNION ALL
                SELECT 'slot', NULL, r.xmin FROM pg_replication_slots r WHERE r.xmin IS NOT NULL
                UNION ALL
                SELECT 'prepared', prepared, transaction FROM pg_prepared_xacts
                 WHERE database = current_database()
                UNION ALL
                SELECT NULL, NULL, NULL) AS s (kind, began_at, xmin)
         GROUP BY s.kind ORDER BY s.kind NULLS FIRST
    $$
"""


class Migration(migrations.Migration):
    dependencies = [("contract", "0004_what_the_application_never_rewrites")]

    operations = [migrations.RunSQL(_CREATE, "DROP FUNCTION contract_oldest_snapshots()")]
