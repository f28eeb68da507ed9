"""The server process: runs, their state, the workers, webhooks."""
