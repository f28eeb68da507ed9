"""Code that the server process and the worker process share."""
