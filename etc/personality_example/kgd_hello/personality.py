"""
What is served, and by which kernel.
"""

from zope.interface import implementer

from kgd.errors import InvalidRequest
from kgd.interfaces import Access, IDrainable, IPersonality, StartRequest
from kgd.web.mounted import base_url
from kgd.web.responses import encoded_answer, json_answer
from kgd.web.routes import Route, RouteTable


@implementer(IPersonality, IDrainable)
class Hello:
    """
    One kernel for everybody.
    """

    def __init__(self, gateway):
        self._gateway = gateway
        self._kernel = None
        self._table = RouteTable(
            [
                Route("/", ("GET",), self.greet, Access.PUBLIC),
                Route("/run", ("GET",), self.run),
            ]
        )

    async def start(self):
        """
        Have the kernel ready before anybody comes.
        """
        self._kernel = await self._gateway.kernels.start(StartRequest())
        await self._kernel.when_ready()

    def stop(self):
        """
        The gateway stops its kernels by itself.
        """

    async def drain(self):
        """
        Wait for what runs; the kernel itself would be there for ever.
        """
        await self._gateway.run(self._kernel, "")

    def reload(self):
        """
        Nothing is read from anywhere.
        """

    def match(self, method, path):
        """
        :return: What is served, and what a request needs for it.
        """
        return self._table.match(method, path)

    # --- requests ---

    def greet(self, request):
        """
        ``GET /``.
        """
        text = f"{self._gateway.options['greeting']}! Try {base_url(request)}/run?code=6*7\n"
        return encoded_answer(request, text.encode(), b"text/plain; charset=utf-8")

    async def run(self, request):
        """
        ``GET /run?code=...``.
        """
        self._gateway.draining.check()
        code = request.args.get(b"code", [b""])[0]
        limit = self._gateway.options["longest-code"]
        if not code or len(code) > limit:
            raise InvalidRequest(f"code must be given, and have at most {limit} bytes")
        outputs = await self._gateway.run(self._kernel, code.decode("utf-8", "replace"))
        error = outputs.error
        return json_answer(
            request,
            {
                "printed": outputs.stdout,
                "result": (outputs.result or {}).get("text/plain"),
                "error": None if error is None else f"{error.ename}: {error.evalue}",
            },
        )
