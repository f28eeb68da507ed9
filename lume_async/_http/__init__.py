"""Sends one request and survives."""
