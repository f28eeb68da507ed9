"""What holds for all tests."""

import signal

from hypothesis import settings

# A job in the background of a script has SIGINT ignored, and its children with it: tests of Ctrl-C would then wait
# for ever. A handler here becomes the default one in every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline per example: how long one takes is the machine's affair, and every test has its own time limit.
# Derandomized: the same examples in every run, so that a failure is never a matter of luck.
settings.register_profile("lume", deadline=None, derandomize=True)
settings.load_profile("lume")
