"""Signatures of deliveries, and the memory of handled ones."""
