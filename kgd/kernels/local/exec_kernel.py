"""
Becomes a kernel: a program of its own, started between the gateway and the kernel.

``python -I -S exec_kernel.py CWD LC_CTYPE OUTPUT ORDERS EXECUTABLE ARGV...``

What it does could be done between fork and exec too, but then the gateway would have to fork with
ZeroMQ's threads running; like this it need not. As every kernel waits for it, it imports as little
as possible.

LC_CTYPE, which Python may have changed, is that of the kernel's environment after an equals sign,
or is empty if there is none. OUTPUT is the file to write to, or is empty if that stays as it is.
ORDERS are words like ``name=value``, made by :py:mod:`kgd.kernels.local.rlimits`:

parent
    Do not become a kernel unless this is still our parent.
nice
    What to add to the niceness.
groups, gid, uid
    As whom to run; numbers, with commas between the groups.
limits
    ``resource:soft:hard``, in numbers, with commas between them.
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


def change_user(orders: dict[str, str]) -> None:
    """
    Become the user that kernels run as; and in any case keep no way back to being another one, as
    a gateway that has changed its effective user only has it.
    """
    if "groups" in orders:
        os.setgroups([int(group) for group in orders["groups"].split(",")])
    gid, uid = int(orders.get("gid", os.getegid())), int(orders.get("uid", os.geteuid()))
    if gid != os.getgid():
        os.setresgid(gid, gid, gid)
    if uid != os.getuid():
        os.setresuid(uid, uid, uid)


def limit(limits: str) -> None:
    """
    Set the limits of this process.
    """
    import resource

    for each in limits.split(","):
        number, soft, hard = map(int, each.split(":"))
        resource.setrlimit(number, (soft, hard))


def become(cwd: str, lc_ctype: str, output: str, orders: str, executable: str, *argv: str) -> None:
    """
    Run the kernel in place of this program.
    """
    given = dict(order.split("=", 1) for order in orders.split())
    os.setsid()
    if "parent" in given and os.getppid() != int(given["parent"]):
        # The gateway was killed before it could tell anybody about us.
        sys.exit(127)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    doing = f"write to {output}"
    try:
        errors = os.dup(2)  # closed by exec
        if output:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            file = os.open(output, flags, 0o600)
            os.dup2(file, 1)
            os.dup2(file, 2)
        doing = "change the user, the groups, the niceness or the limits of the kernel"
        if "nice" in given:
            os.nice(int(given["nice"]))
        change_user(given)
        if "limits" in given:
            limit(given["limits"])
        doing = f"enter the directory {cwd}"
        os.chdir(cwd)
        reset_signals()
        doing = f"run {executable}"
        os.environ.pop("LC_CTYPE", None)
        if lc_ctype:
            os.environ["LC_CTYPE"] = lc_ctype[1:]
        os.execve(executable, argv, os.environ)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        os.write(errors, f"cannot {doing}: {reason}\n".encode(errors="replace"))
        sys.exit(127)


if __name__ == "__main__":
    become(*sys.argv[1:])
