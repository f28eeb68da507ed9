"""Deliveries when a run begins or ends: webhooks and lineage events."""
