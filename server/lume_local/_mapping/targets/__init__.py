"""Descriptions of a target: a JSON Schema, a flow version, a dbt model, a table."""
