"""Replace this process by a command that dies with its parent.

    python -IS bound_exec.py PARENT_PID LIMITS COMMAND [ARG ...]

LIMITS is a JSON object, name of an rlimit to its value.

A child must never outlive `skerry up`, not even after SIGKILL: it would hold ports and sockets that the
next start needs. Linux signals a child when its parent dies if it asked for that (prctl(2),
PR_SET_PDEATHSIG, kept across execve). Elsewhere the command runs unbound.
"""

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def bind_to_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when `parent_pid` ends; exits at once if it has ended already."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        sys.exit(0)


if __name__ == "__main__":
    bind_to_parent(int(sys.argv[1]))
    for name, value in json.loads(sys.argv[2]).items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - no shell is wanted
