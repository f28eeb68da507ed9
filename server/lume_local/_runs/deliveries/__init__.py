"""Deliveries: the outbox, its carriers of webhooks, lineage events and messages, and the notices behind messages."""
