"""What tests need of POSIX: they are skipped on Windows, and in an interpreter like it (`without_posix`)."""

import os

import pytest

IS_POSIX = hasattr(os, "fork")

posix_only = pytest.mark.skipif(not IS_POSIX, reason="forks, signals or permissions of POSIX")
"""Marks a test that is about them, or needs them to find out."""


def need_posix() -> None:
    """Skip what calls it."""
    if not IS_POSIX:
        pytest.skip("a program that is forked")
