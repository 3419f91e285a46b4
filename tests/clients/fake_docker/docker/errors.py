"""
Docker's errors.
"""


class DockerException(Exception):
    """
    Any of them.
    """


class ImageNotFound(DockerException):
    """
    There is no image of this name.
    """


class NotFound(DockerException):
    """
    There is no such thing.
    """
