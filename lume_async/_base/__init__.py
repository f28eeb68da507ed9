"""Shared foundations: back-off, time, secrets; nothing here knows of runs or HTTP."""
