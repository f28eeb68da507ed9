"""What `lume` is for a shell of the tests: it hands all that it is given to a fork server (see `in_shells`)."""

import json
import os
import socket
import sys

try:
    server = socket.socket(fileno=int(os.environ["LUME_TESTS_FORK_SERVER"]))
except (KeyError, OSError):  # begun by a program in between, which has closed it: a real one
    os.execv(os.path.join(os.path.dirname(sys.executable), "lume"), ["lume", *sys.argv[1:]])
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
with theirs:
    job = [SOURCE, sys.argv[1:], os.getcwd(), dict(os.environ), False, ""]  # type: ignore[name-defined]  # noqa: F821
    socket.send_fds(server, [json.dumps(job).encode()], [theirs.fileno(), 0, 1, 2])
ours.recv(32)  # its process id
code = int(ours.recv(32))
sys.exit(code if code >= 0 else 128 - code)
