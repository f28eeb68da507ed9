"""Signatures of deliveries, and the memory of which were handled."""
