"""Becomes another program, within limits and never outliving its parent.

    python -I launch.py LIMITS PROGRAM ARGUMENT...

LIMITS is a JSON object, name of an rlimit to its value. For programs that cannot do this of themselves.
"""

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for name, value in json.loads(sys.argv[1]).items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the very point
