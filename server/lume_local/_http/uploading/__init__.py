"""Uploads, which continue where they broke off."""
