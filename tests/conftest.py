"""What holds for all tests."""

from hypothesis import settings

# No deadline per example: how long one takes is the machine's affair, and every test has its own time limit.
# Derandomized: the same examples in every run, so that a failure is never a matter of luck.
settings.register_profile("lume", deadline=None, derandomize=True)
settings.load_profile("lume")
