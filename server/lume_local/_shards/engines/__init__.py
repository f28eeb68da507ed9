"""Executors for the tasks of a run over shards: the cores of this machine, or a cluster."""
