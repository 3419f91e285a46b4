"""
A personality for kgd: a greeting, and code that is run as it comes in the query.

kgd imports this module whenever it starts, because the plug-in is installed. So there is only the
maker here; what it makes is imported when somebody wants it.
"""

from twisted.plugin import IPlugin
from zope.interface import implementer

from kgd.errors import ConfigurationError
from kgd.interfaces import IPersonalityMaker, PersonalityOption
from kgd.options import size


@implementer(IPlugin, IPersonalityMaker)
class HelloMaker:
    """
    Makes the personality.
    """

    name = "hello"
    options = (
        PersonalityOption("greeting", "What to say to those who come.", default="Hello"),
        PersonalityOption("longest-code", "Most bytes of code in a request.", size, 4096),
    )

    def make(self, gateway):
        """
        :raises kgd.errors.ConfigurationError: when it cannot work.
        """
        from kgd_hello.personality import Hello

        if gateway.settings.max_kernels == 0:
            raise ConfigurationError("hello needs a kernel; raise --max-kernels")
        return Hello(gateway)


maker = HelloMaker()
