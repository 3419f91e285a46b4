"""
The environment variables of a new kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from string import Template

from kgd.errors import InvalidRequest

# The gateway's own settings, secrets among them.
_GATEWAY_PREFIXES = ("KG_", "KGD_")
# Variables in which systemd tells the gateway what a kernel must not act upon.
_SERVICE_PREFIXES = ("LISTEN_", "WATCHDOG_")
_SERVICE_NAMES = frozenset({"NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY"})

# Variables of the gateway that a kernel gets even when the client sent an environment.
_MINIMAL_NAMES = frozenset(
    {
        "PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "USER",
        "LOGNAME",
        "SHELL",
        "TMPDIR",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "SYSTEMROOT",
    }
)

# Variables that lead to a user's own sockets and files.
_PER_USER = frozenset(
    {"DBUS_SESSION_BUS_ADDRESS", "JUPYTER_RUNTIME_DIR", "MAIL", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}
)

# Linux allows 128 KiB for one variable; the sum leaves room for the command line and the gateway's
# own variables.
_MAX_VARIABLE = 128 * 1024 - 2
_MAX_TOTAL = 512 * 1024


def kernel_environment(
    gateway_env: Mapping[str, str],
    client_env: Mapping[str, str] | None,
    spec_env: Mapping[str, str],
    *,
    inherit: Set[str],
    accept: Set[str],
    hide: Set[str] = frozenset(),
    parent_pid: int | None,
) -> dict[str, str]:
    """
    Choose the complete environment of a new kernel.

    :param gateway_env: The gateway's environment.
    :param client_env: The client's variables; ``None`` when it sent none, which is not ``{}``: then
        the kernel gets the gateway's environment instead of a minimal one.
    :param spec_env: The kernelspec's ``env``; ``${VAR}`` in it stands for a variable chosen so far.
    :param inherit: Names of gateway variables to pass on beside the minimal set.
    :param accept: Names of client variables to accept beside ``KERNEL_*``.
    :param hide: Names of variables that hold secrets of the gateway; these never get through.
    :param parent_pid: The process with which the kernel should end, or ``None``.
    """
    if client_env is None:
        env = {name: value for name, value in gateway_env.items() if not _is_service_variable(name)}
    else:
        env = {
            name: value
            for name, value in gateway_env.items()
            if _is_minimal(name) or name in inherit
        }
        env |= {
            name: value
            for name, value in client_env.items()
            if name.startswith("KERNEL_") or name in accept
        }
    # Removed before the kernelspec can refer to them, and once more at the end.
    env = _without_gateway_variables(env, hide)
    env |= {name: Template(value).safe_substitute(env) for name, value in spec_env.items()}
    env["KERNEL_GATEWAY"] = "1"
    env.pop("JPY_PARENT_PID", None)
    if parent_pid is not None:
        env["JPY_PARENT_PID"] = str(parent_pid)
    return _without_gateway_variables(env, hide)


def adapt_to_user(gateway_env: Mapping[str, str], user_env: Mapping[str, str]) -> dict[str, str]:
    """
    Adapt the gateway's environment to another user.

    :param user_env: The variables that this user's programs expect.
    :return: The environment with these, and without what leads to the gateway's sockets and files.
    """
    return {name: value for name, value in gateway_env.items() if name not in _PER_USER} | dict(
        user_env
    )


def _is_service_variable(name: str) -> bool:
    return name.startswith(_SERVICE_PREFIXES) or name in _SERVICE_NAMES


def _is_minimal(name: str) -> bool:
    return name in _MINIMAL_NAMES or name.startswith("LC_")


def _without_gateway_variables(env: Mapping[str, str], hide: Set[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if not name.startswith(_GATEWAY_PREFIXES) and name not in hide
    }


def check_client_environment(env: object) -> dict[str, str]:
    """
    :param env: The ``env`` that a client sent.
    :return: A copy, which a process can have.
    :raises kgd.errors.InvalidRequest: when no process can have it; the message names the variable,
        not its value.
    """
    if not isinstance(env, Mapping):
        raise InvalidRequest("env must be an object of strings")
    size = 0
    for name, value in env.items():
        size += _check_variable(name, value)
    if size > _MAX_TOTAL:
        raise InvalidRequest(f"env is too large; it may have {_MAX_TOTAL} bytes in total")
    return dict(env)


def _check_variable(name: object, value: object) -> int:
    """
    :return: The variable's size in bytes.
    """
    if not isinstance(name, str) or not name or "=" in name or "\0" in name:
        raise InvalidRequest(f"env: {_quoted(name)} cannot be the name of a variable")
    if not isinstance(value, str):
        raise InvalidRequest(f"env: the value of {_quoted(name)} must be a string")
    if "\0" in value:
        raise InvalidRequest(f"env: the value of {_quoted(name)} must not contain a NUL")
    try:
        size = len(name.encode()) + len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"env: {_quoted(name)} cannot be encoded in UTF-8") from None
    if size > _MAX_VARIABLE:
        raise InvalidRequest(f"env: {_quoted(name)} may have {_MAX_VARIABLE} bytes at most")
    return size


def _quoted(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 80 else text[:77] + "..."
