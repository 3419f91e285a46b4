"""
Kernel ids: new ones, and checks of those that clients ask for.
"""

from __future__ import annotations

import re
import uuid

from kgd.errors import InvalidRequest

# The ids that the REST routes match.
_KERNEL_ID = re.compile(r"\w+-\w+-\w+-\w+-\w+", re.ASCII)
_MAX_LENGTH = 100


def new_kernel_id() -> str:
    """
    :return: A random UUID in lower case.
    """
    return str(uuid.uuid4())


def check_kernel_id(kernel_id: object) -> str:
    """
    :param kernel_id: The id that a client wants for its kernel. It becomes part of a file name.
    :return: The same id.
    :raises kgd.errors.InvalidRequest: unless it looks like a UUID.
    """
    if (
        isinstance(kernel_id, str)
        and len(kernel_id) <= _MAX_LENGTH
        and _KERNEL_ID.fullmatch(kernel_id)
    ):
        return kernel_id
    raise InvalidRequest(
        "kernel_id must look like a UUID: five groups of ASCII letters, digits or underscores, "
        f"joined by hyphens, at most {_MAX_LENGTH} characters"
    )
