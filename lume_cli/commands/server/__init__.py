"""A server: run it, look after it, receive its webhooks."""
