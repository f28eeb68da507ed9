"""Rejects that are submitted again, corrected: how they are recognized, and read as their source was."""
