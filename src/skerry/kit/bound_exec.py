"""Replace this process by a command that dies with its parent.

    python -m skerry.kit.bound_exec PARENT_PID COMMAND [ARG ...]

A child must never outlive `skerry up`, not even after SIGKILL: it would hold ports and sockets that the
next start needs. Linux signals a child when its parent dies if it asked for that (prctl(2),
PR_SET_PDEATHSIG, kept across execve). Elsewhere the command runs unbound.
"""

import ctypes
import os
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
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted
