"""No orphans: a process that the kernel kills when the one that started it is gone.

A service calls `bind` as its first act. Foreign programs (Redis, Prometheus) are started through
this module, which binds itself and then becomes the program:

    python -m dos.simulate.testbed.leash PARENT_PID PROGRAM ARGUMENT...

The request to the kernel survives `exec`. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from dos.kit.errors import PermanentError

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal the calling process gets when its parent dies."""


def supported() -> bool:
    """Whether this system can do it."""
    return sys.platform == "linux"


def bind(to: int) -> None:
    """Be killed when process `to`, which started this one, ends in whatever way.

    Raises:
        PermanentError: The kernel refuses.
        SystemExit: The parent was gone before the kernel knew.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        msg = f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}."
        raise PermanentError(msg)
    if os.getppid() != to:
        sys.exit(1)


def parent() -> str:
    """This process, as the argument that its children are bound with."""
    return str(os.getpid())


def command(*program: str) -> list[str]:
    """The command line that runs `program` bound to this process."""
    return [sys.executable, "-m", __name__, parent(), *program]


def main(arguments: list[str]) -> None:
    """Become the program in `arguments`, bound to the parent named first."""
    to, *program = arguments
    bind(int(to))
    os.execvp(program[0], program)  # noqa: S606  no shell: the arguments are the program's own


if __name__ == "__main__":
    main(sys.argv[1:])
