"""What the server process and the worker process share."""
