"""The outbox in PostgreSQL."""

from lume_local._runs.sql.beside_runs import KIND, RECEIVERS, SqlDeliveries
from lume_local._runs.sql.tables import RECEIVER


class PostgresDeliveries(SqlDeliveries):
    """It finds those of each receiver by a lateral join, which SQLite lacks."""

    first_of_each = f"""
    {RECEIVERS}
    SELECT id, run_id, url, attempts, due, traceparent FROM receivers CROSS JOIN LATERAL (
        SELECT * FROM deliveries WHERE due IS NOT NULL AND {RECEIVER} = receiver ORDER BY due LIMIT ?
    ) AS first LEFT JOIN traces USING (run_id)
    WHERE {KIND} IN (?, ?, ?) ORDER BY due
    """  # noqa: S608 - constants
