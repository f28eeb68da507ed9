"""A run over shards of its source: the statements of a worker, on several processes or machines."""
