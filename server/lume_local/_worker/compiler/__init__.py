"""Compiles the expressions of a flow version to SQL."""
