"""Recovery: ends what an earlier server, a late commit or an old run has left."""
