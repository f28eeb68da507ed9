"""Runs over shards of a source: a worker's statements, on several processes or machines."""
