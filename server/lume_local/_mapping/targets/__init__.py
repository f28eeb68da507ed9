"""Where a target may be described: a JSON Schema, a flow version, a dbt model, a table."""
