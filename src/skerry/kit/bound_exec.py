"""Replace this process by a command that dies with its parent.

    python -IS bound_exec.py PARENT_PID BOUNDS COMMAND [ARG ...]

BOUNDS is a JSON object: `limits`, name of an rlimit to its value; `cores`, the processors that it may run on, [] for
all; `user`, the ids of the user and the group that it becomes, or null. Only root may become another.

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


def take(limits: dict[str, int], cores: list[int], user: list[int] | None) -> None:
    """Give this process its bounds; last that which can't be undone."""
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if cores:
        os.sched_setaffinity(0, cores)
    if user:
        user_id, group_id = user
        os.setgroups([])
        os.setgid(group_id)
        os.setuid(user_id)


if __name__ == "__main__":
    take(**json.loads(sys.argv[2]))
    bind_to_parent(int(sys.argv[1]))  # now, since the kernel forgets it of a process that becomes another user
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - no shell is wanted
