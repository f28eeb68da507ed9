"""What an earlier server, a late commit or an old run has left, and how it ends."""
