"""
A program that prepares its own process and then replaces itself by a kernel.

``python -I -S exec_kernel.py CWD LC_CTYPE OUTPUT SETUP EXECUTABLE ARGV...``

The gateway starts it, and it starts the kernel with ``exec``. The same could be done between fork
and exec, but then the gateway would have to fork while ZeroMQ's threads run. As every kernel waits
for this program, it imports as little as possible.

LC_CTYPE, which Python may have changed, is the kernel's own after an equals sign, or empty if it
has none. OUTPUT is the file to print to, or empty to keep standard output and error. SETUP is words
like ``name=value``, made by :py:func:`kgd.kernels.local.rlimits.exec_arguments`:

parent
    Exit unless this is still the parent process.
nice
    The number to add to the niceness.
oom
    The value to raise ``oom_score_adj`` to, so that the system ends this process before the gateway
    when memory runs out.
groups, gid, uid
    The user to run as; numbers, with commas between the groups.
limits
    ``resource:soft:hard``, in numbers, with commas between them.
"""

# The module ``signal`` adds more to this than all the rest of this program takes to import.
import _signal  # type: ignore[import-not-found]
import os
import sys


def reset_signals() -> None:
    """
    Undo what Python, or the program that started the gateway, has done to signals.
    """
    for signum in range(1, _signal.NSIG):
        if _signal.getsignal(signum) == _signal.SIG_IGN:
            _signal.signal(signum, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


# How much higher the value is at least than that of the gateway, from which it is inherited: in
# some containers all processes begin with a high one.
OOM_DISTANCE = 100
_MAX_OOM = 1000


def raise_oom_score(wanted: int) -> None:
    """
    Raise the value by which the system chooses what to end when memory runs out; never lower it,
    which would need privileges. Children inherit it. Does nothing where there is no such value.
    """
    try:
        file = os.open("/proc/self/oom_score_adj", os.O_RDWR)
        try:
            present = int(os.read(file, 32))
            value = max(wanted, min(present + OOM_DISTANCE, _MAX_OOM))
            if value > present:
                os.write(file, b"%d" % value)
        finally:
            os.close(file)
    except (OSError, ValueError):
        pass


def change_user(setup: dict[str, str]) -> None:
    """
    Become the user that kernels run as, for good: also where the gateway has changed its effective
    user only, and so could change back.
    """
    if "groups" in setup:
        os.setgroups([int(group) for group in setup["groups"].split(",")])
    gid, uid = int(setup.get("gid", os.getegid())), int(setup.get("uid", os.geteuid()))
    if gid != os.getgid():
        os.setresgid(gid, gid, gid)
    if uid != os.getuid():
        os.setresuid(uid, uid, uid)


def set_limits(limits: str) -> None:
    """
    Set the resource limits of this process.
    """
    import resource

    for each in limits.split(","):
        number, soft, hard = map(int, each.split(":"))
        resource.setrlimit(number, (soft, hard))


def run_kernel(
    cwd: str, lc_ctype: str, output: str, setup: str, executable: str, *argv: str
) -> None:
    """
    Run the kernel in place of this program.
    """
    values = dict(word.split("=", 1) for word in setup.split())
    os.setsid()
    if "parent" in values and os.getppid() != int(values["parent"]):
        # The gateway was killed before it could tell its watchdog about this process.
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
        if "oom" in values:
            # Another user could not write this file.
            raise_oom_score(int(values["oom"]))
        doing = "change the user, the groups, the niceness or the limits of the kernel"
        if "nice" in values:
            os.nice(int(values["nice"]))
        change_user(values)
        if "limits" in values:
            set_limits(values["limits"])
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
    run_kernel(*sys.argv[1:])
