"""
Becomes a kernel: a program of its own, started between the gateway and the kernel.

``python -I -S exec_kernel.py CWD LC_CTYPE EXECUTABLE ARGV...``

What it does could be done between fork and exec too, but then the gateway would have to fork with
ZeroMQ's threads running; like this it need not. As every kernel waits for it, it imports as little
as possible. LC_CTYPE, which Python may have changed, is that of the kernel's environment after an
equals sign, or is empty if there is none.
"""

# What ``signal`` adds to this takes longer than all the rest of this program.
import _signal  # type: ignore[import-not-found]
import os
import sys


def reset_signals() -> None:
    """
    Undo what Python, or whatever started the gateway, has done to signals.
    """
    for signum in range(1, _signal.NSIG):
        if _signal.getsignal(signum) == _signal.SIG_IGN:
            _signal.signal(signum, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def become(cwd: str, lc_ctype: str, executable: str, *argv: str) -> None:
    """
    Run the kernel in place of this program.
    """
    os.setsid()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    doing = f"enter the directory {cwd}"
    try:
        os.chdir(cwd)
        reset_signals()
        doing = f"run {executable}"
        os.environ.pop("LC_CTYPE", None)
        if lc_ctype:
            os.environ["LC_CTYPE"] = lc_ctype[1:]
        os.execve(executable, argv, os.environ)
    except OSError as error:
        sys.stderr.write(f"cannot {doing}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    become(*sys.argv[1:])
