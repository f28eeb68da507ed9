"""Corrected rejects that are resubmitted: how they are recognized, and read as their source was."""
