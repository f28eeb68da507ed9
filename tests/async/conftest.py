"""Fixtures of the core's tests."""

from scripted import http as http
