"""
From a name to a personality, and what every personality promises.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tomllib
from io import StringIO
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from klein import Klein
from twisted.internet.defer import fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data
from werkzeug.exceptions import NotFound
from zope.interface import implementer
from zope.interface.verify import verifyObject

import kgd
from kgd import options as readers
from kgd.config import plugin_options
from kgd.config.chroot import chrooted
from kgd.config.plugin_options import options_with, table_with
from kgd.config.render import config_file
from kgd.config.types import switch, whole_number
from kgd.errors import ConfigurationError, InvalidRequest
from kgd.interfaces import (
    Access,
    IDrainable,
    IGateway,
    IPersonality,
    IPersonalityMaker,
    IResourcePersonality,
    PersonalityOption,
)
from kgd.personalities import jupyter_websocket, loader, notebook_http
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.loader import load_personality
from kgd.personalities.resource_adapter import ResourceAdapter
from kgd.protocol.outputs import Outputs
from kgd.settings import MEBIBYTE, Settings
from kgd.testing.personalities import MemoryGateway, PersonalityContract
from kgd.testing.web import MemoryClient
from kgd.web.embedded import application_resource
from tests.support.notebooks import KERNEL_API
from tests.support.personalities import Idle, Maker, Plain, PlainResource

FAULT = (500, "Unknown server error")
PUBLIC = Access.PUBLIC
EXAMPLE = Path(kgd.__file__).parents[1] / "etc" / "personality_example"


class LoaderTests(SynchronousTestCase):
    """
    What ``--api`` may be.
    """

    def setUp(self) -> None:
        self.gateway = MemoryGateway()
        self.module = ModuleType("a_module_of_somebody")
        self.patch(sys, "modules", sys.modules | {"a_module_of_somebody": self.module})

    def test_built_in(self) -> None:
        """
        All names of the built-in personality mean the same.
        """
        for api in ("jupyter_websocket", "jupyter-websocket", "kernel_gateway.jupyter_websocket"):
            self.assertIsInstance(load_personality(api, self.gateway), JupyterWebsocket)

    def test_module(self) -> None:
        """
        A module that has a maker, or the maker itself, is named with its dots.
        """
        plain = Plain()
        setattr(self.module, "maker", Maker(plain))  # noqa: B010
        self.assertIs(load_personality("a_module_of_somebody.maker", self.gateway), plain)

    def test_unknown(self) -> None:
        """
        An unknown name is an error that lists those which there are.
        """
        error = self.assertRaises(
            ConfigurationError, load_personality, "notebook-gopher", self.gateway
        )
        self.assertIn("notebook-gopher", str(error))
        self.assertIn("jupyter_websocket", str(error))
        error = self.assertRaises(
            ConfigurationError, load_personality, "no.such.module", self.gateway
        )
        self.assertIn("cannot be imported", str(error))

    def test_broken_module(self) -> None:
        """
        A module that is there and cannot be imported says why, with dots in its name or without.
        """
        self.patch(sys, "path", [str(Path(self.mktemp()).absolute()), *sys.path])
        Path(sys.path[0]).mkdir()
        for number, (source, reason) in enumerate(
            (
                ("import nothing_of_this_name", "'nothing_of_this_name'"),
                ("def f(:", "invalid syntax"),
                ("raise SystemExit('it is a program')", "it is a program"),
            )
        ):
            name = f"broken_module_of_somebody_{number}"
            Path(sys.path[0], f"{name}.py").write_text(source)
            for api in (name, f"{name}.maker"):
                error = self.assertRaises(ConfigurationError, load_personality, api, self.gateway)
                self.assertIn(f"--api={api} cannot be imported: ", str(error))
                self.assertIn(reason, str(error))

    def test_class(self) -> None:
        """
        Whoever forgets to make an instance is told so.
        """
        setattr(self.module, "maker", Maker)  # noqa: B010
        error = self.assertRaises(
            ConfigurationError, load_personality, "a_module_of_somebody", self.gateway
        )
        self.assertIn("it is the class Maker; use an instance, Maker()", str(error))
        setattr(self.module, "maker", Maker(Plain))  # noqa: B010
        error = self.assertRaises(
            ConfigurationError, load_personality, "a_module_of_somebody", self.gateway
        )
        self.assertIn("it is the class Plain;", str(error))

    def refusal(self, made: Any, api: str = "a_module_of_somebody.maker") -> str:
        """
        :param made: What the maker makes, or the maker itself if it is a type.
        :return: Why it is refused, in one line.
        """
        maker = made() if isinstance(made, type | FunctionType) else Maker(made)
        setattr(self.module, "maker", maker)  # noqa: B010
        text = str(self.assertRaises(ConfigurationError, load_personality, api, self.gateway))
        self.assertNotIn("\n", text)
        return text

    def test_without_dots(self) -> None:
        """
        A module of its own needs no package.
        """
        plain = Plain()
        setattr(self.module, "maker", Maker(plain))  # noqa: B010
        self.assertIs(load_personality("a_module_of_somebody", self.gateway), plain)

    def test_not_a_maker(self) -> None:
        """
        Something else under a name with dots is refused.
        """
        error = self.assertRaises(
            ConfigurationError, load_personality, "os.path.join", self.gateway
        )
        self.assertIn("it has no make; it has no name", str(error))
        error = self.assertRaises(ConfigurationError, load_personality, "json", self.gateway)
        self.assertIn("a module without a maker", str(error))

    def test_missing_member(self) -> None:
        """
        A personality that lacks something is refused, and what it lacks is named.
        """
        lacking: Any = implementer(IPersonality)(type("Lacking", (Idle,), {}))
        self.assertTrue(self.refusal(lacking()).endswith("fit: it has no match"))
        older = {"methods": PlainResource.methods}
        lacking = implementer(IResourcePersonality)(type("Lacking", (Idle,), older))
        self.assertTrue(
            self.refusal(lacking()).endswith("fit: it has no access; it has no resource")
        )

        undrained: Any = implementer(IDrainable)(type("Undrained", (Plain,), {}))
        self.assertTrue(self.refusal(undrained()).endswith("fit: it has no drain"))
        nameless: Any = implementer(IPersonalityMaker)(type("N", (), {"make": Maker.make}))
        self.assertIn("it has no name", self.refusal(nameless))

    def test_wrong_members(self) -> None:
        """
        So is one whose members are not what they should be, or that does not say what it is.
        """
        mute: Any = type("Mute", (Idle,), {"match": Plain.match})
        self.assertIn("@implementer(IPersonality)", self.refusal(mute()))
        deaf: Any = type("Deaf", (Idle,), {"match": lambda self: None})
        text = self.refusal(implementer(IPersonality)(deaf)())
        self.assertIn("its match is not as in kgd.interfaces.IPersonality", text)
        for declared in (IPersonality, IResourcePersonality):
            older: Any = type("Older", (Idle,), {
                "resource": PlainResource.resource, "methods": PlainResource.methods,
                "access": lambda self: Access.PUBLIC,
            })  # fmt: skip
            text = self.refusal(implementer(declared)(older)())
            self.assertIn("its access is not as in kgd.interfaces.IResourcePersonality", text)

    def test_for_the_other_gateway(self) -> None:
        """
        A personality of the Jupyter Kernel Gateway cannot be served, and that is what is said.
        """
        setattr(self.module, "create_personality", lambda parent, log: None)  # noqa: B010
        for api in ("a_module_of_somebody", "a_module_of_somebody.create_personality"):
            error = self.assertRaises(ConfigurationError, load_personality, api, self.gateway)
            self.assertIn("Tornado", str(error))
            self.assertIn("docs/writing-a-personality.md", str(error))

    def installed(self, *makers: Any) -> None:
        """
        Let these be the plug-ins.
        """
        self.patch(loader, "plugin_makers", lambda: makers)

    def test_same_name(self) -> None:
        """
        Of two plug-ins of the same name neither is taken by chance. One that a module has under two
        names is one, and nobody takes the name of one of ours.
        """

        class Named(Maker):
            name = "hello-there"

        first, second = Named(Plain()), Named(Plain())
        self.installed(first, first)
        load_personality("hello_there", self.gateway)
        error = self.assertRaises(ConfigurationError, load_personality, "gopher", self.gateway)
        self.assertEqual(str(error).count("hello_there"), 1)
        self.installed(first, second)
        error = self.assertRaises(ConfigurationError, load_personality, "hello-there", self.gateway)
        self.assertIn(f"2 makers, which are in {__name__}, {__name__}", str(error))
        first.name = "jupyter_websocket"
        self.assertIsInstance(load_personality("jupyter_websocket", self.gateway), JupyterWebsocket)

    def test_options_that_are_none(self) -> None:
        """
        A maker whose options are something else is refused when it is asked for.
        """
        for options in (5, [("a", "A.")], {"a": 1}):
            made = lambda options=options: self.odd(options)  # noqa: E731
            self.assertIn("its options are not a sequence of", self.refusal(made))

    def odd(self, options: Any) -> Any:
        """
        :return: A maker with these.
        """
        maker: Any = Maker(Plain())
        maker.options = options
        return maker

    def test_options(self) -> None:
        """
        A personality gets what was chosen for its options, and the defaults of the others.
        """
        got: list[Any] = []

        class Choosy(Maker):
            options = (
                PersonalityOption("a", "A.", default=1),
                PersonalityOption("b", "B.", default=2),
            )

            def make(self, gateway: IGateway) -> Any:
                got.append(gateway.options)
                return super().make(gateway)

        setattr(self.module, "maker", Choosy(Plain()))  # noqa: B010
        gateway = MemoryGateway(Settings(personality_options={"b": 3}))
        load_personality("a_module_of_somebody", gateway)
        self.assertEqual(got, [{"a": 1, "b": 3}])
        gateway = MemoryGateway(Settings(personality_options={"c": 3}))
        error = self.assertRaises(
            ConfigurationError, load_personality, "a_module_of_somebody", gateway
        )
        self.assertIn("no option 'c'; it has a, b", str(error))


class ResourceAdapterTests(SynchronousTestCase):
    """
    Personalities of the older form, whose methods may give a Deferred, a coroutine or a value.
    """

    def adapter(self, **members: Any) -> ResourceAdapter:
        """
        :return: An adapter for a personality with these members.
        """
        plain: Any = PlainResource()
        for name, member in members.items():
            setattr(plain, name, member)
        return ResourceAdapter(plain, "it")

    def test_values(self) -> None:
        """
        All of them are waited for.
        """

        async def coroutine() -> int:
            return await succeed(2)

        for method, expected in ((lambda: 1, 1), (coroutine, 2), (lambda: succeed(3), 3)):
            adapter = self.adapter(stop=method, reload=method, start=method)
            self.assertEqual(self.successResultOf(adapter.stop()), expected)
            self.assertEqual(self.successResultOf(adapter.reload()), expected)
            self.assertIsNone(self.successResultOf(adapter.start()))

    def test_failures(self) -> None:
        """
        Whichever way it fails.
        """

        async def coroutine() -> None:
            raise ValueError

        def plain() -> None:
            raise ValueError

        for method in (coroutine, plain, lambda: fail(ValueError())):
            adapter = self.adapter(stop=method, reload=method, start=method)
            for called in (adapter.start, adapter.stop, adapter.reload):
                self.failureResultOf(called(), ValueError)

    def test_resources(self) -> None:
        """
        A Klein application is as good as a resource; anything else is refused.
        """
        for given, fits in ((Resource(), True), (Klein(), True), (7, False), (None, False)):
            adapter = self.adapter(resource=lambda given=given: given, access=lambda _: PUBLIC)
            if fits:
                self.successResultOf(adapter.start())
                self.assertIsNotNone(adapter.match("GET", "/"))
            else:
                failure = self.failureResultOf(adapter.start(), ConfigurationError)
                self.assertIn(type(given).__name__, str(failure.value))

    def test_no_access(self) -> None:
        """
        A path is not served when the personality does not know it. An answer that is no access is
        an error, which lets nobody in.
        """
        self.assertIsNone(self.adapter().match("GET", "/"))
        adapter = self.adapter(access=lambda _: None)
        self.assertRaises(TypeError, adapter.match, "GET", "/")

    def test_declared_either_way(self) -> None:
        """
        The older form is known by its members, whichever interface it declares.
        """
        gateway = MemoryGateway()
        older: Any = type("Older", (PlainResource,), {"more": "an attribute of its own"})
        for declared in (IPersonality, IResourcePersonality):
            loaded: Any = loader.make(Maker(implementer(declared)(older)()), gateway)
            self.assertIsInstance(loaded, ResourceAdapter)
            self.assertTrue(verifyObject(IPersonality, loaded))
            self.assertFalse(IDrainable.providedBy(loaded))
            self.assertEqual(loaded.more, "an attribute of its own")
        drained: Any = type("Drained", (PlainResource,), {"drain": lambda self: succeed("drained")})
        loaded = loader.make(Maker(implementer(IDrainable)(drained)()), gateway)
        self.assertTrue(verifyObject(IDrainable, loaded))
        self.assertEqual(self.successResultOf(loaded.drain()), "drained")


class ServingTests(SynchronousTestCase):
    """
    How what others have written is served.
    """

    def client(self, resource: IResource, access: Any = Access.PUBLIC, **settings: Any) -> Any:
        """
        :return: A client of a personality that serves this everywhere.
        """
        plain: Any = PlainResource()
        plain.access = lambda path: access() if callable(access) else access
        plain.methods = lambda path: ("GET",)
        client = MemoryClient(Settings(**settings), plain, resource)
        self.addCleanup(client.close)
        return client

    def test_tree(self) -> None:
        """
        A tree of resources is one; its children's names are decoded.
        """
        root = Resource()
        below = Resource()
        root.putChild(b"a b", below)
        below.putChild(b"c", Data(b"here", "text/plain"))
        client = self.client(root, base_url="/base")
        self.assertEqual(client.request("GET", "/base/a%20b/c").body, b"here")
        for method, path, code in (("GET", "d", 404), ("GET", "c/d", 404), ("POST", "c", 405)):
            response = client.request(method, f"/base/a%20b/{path}")
            self.assertEqual((response.code, response.json["message"]), (code, ""))

    def test_operations(self) -> None:
        """
        What the gateway serves by itself is there, unless the personality knows the path.
        """
        parts = MemoryGateway(Settings(auth_token="t", drain_endpoint=True))
        for access, answers in (
            (Access.UNKNOWN, {"/healthz": 200, "/readyz": 200, "/metrics": 401, "/a": 404}),
            (Access.PUBLIC, {"/healthz": 404, "/metrics": 404}),
        ):
            plain: Any = PlainResource()
            plain.access = lambda path, access=access: access
            plain.methods = lambda path: ()
            client = MemoryClient(parts.settings, plain, Resource(), operations=parts.operations)
            self.addCleanup(client.close)
            for path, code in answers.items():
                self.assertEqual(client.request("GET", path).code, code, path)
            allowed = client.request("OPTIONS", "/api/drain").headers.get("allow", "")
            self.assertEqual("POST" in allowed, access is Access.UNKNOWN)

    def test_faults(self) -> None:
        """
        What goes wrong in it is for the operator to read, and not for clients.
        """

        class Faulty(Resource):
            isLeaf = True

            def render(self, request: Any) -> Any:
                if request.postpath == [b"text"]:
                    return "text"
                raise ValueError("a secret")

        client = self.client(Faulty(), auth_token="")
        for path in ("/text", "/raise"):
            response = client.request("GET", path)
            self.assertEqual((response.code, response.json["message"]), FAULT)
        self.assertEqual(len(self.flushLoggedErrors(TypeError, ValueError)), 2)

    def klein(self, app: Any) -> Any:
        """
        :return: A client of a personality that has a Klein application.
        """
        return self.client(application_resource(app))

    def test_klein(self) -> None:
        """
        A Klein application's errors are as all others, whoever finds them.
        """

        class Application:
            app = Klein()

            @app.route("/invalid")
            async def invalid(self, request: Any) -> None:
                """
                Coroutines fail later.
                """
                raise InvalidRequest("it is")

            @app.route("/fault")
            def fault(self, request: Any) -> None:
                """
                What is ours to mend.
                """
                raise ValueError("a secret")

            @app.route("/below/", methods=["GET"])
            def below(self, request: Any) -> bytes:
                """
                Where a slash leads.
                """
                return b"here"

        client = self.klein(Application().app)
        for method, path, expected in (
            ("GET", "/invalid", (400, "it is")),
            ("GET", "/fault", FAULT),
            ("GET", "/nothing", (404, "")),
            ("PUT", "/below/", (405, "")),
        ):
            response = client.request(method, path)
            self.assertEqual((response.code, response.json["message"]), expected)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(client.request("GET", "/below").headers["location"][-7:], "/below/")

    def test_klein_handlers(self) -> None:
        """
        An application that has pages for its errors shows them.
        """
        app = Klein()

        @app.handle_errors(NotFound)
        def gone(request: Any, failure: Failure) -> bytes:
            request.setResponseCode(410)
            return b"its own"

        response = self.klein(app).request("GET", "/nothing")
        self.assertEqual((response.code, response.body), (410, b"its own"))

    def test_fails_later(self) -> None:
        """
        So are errors of those who answer later. An answer that has begun has no end then.
        """

        class Late(Resource):
            isLeaf = True

            def render(self, request: Any) -> int:
                if request.postpath == [b"begun"]:
                    request.write(b"the beginning")
                request.processingFailed(Failure(ValueError("a secret")))
                if request.postpath == [b"begun"]:
                    # As Klein does.
                    request.finish()
                return NOT_DONE_YET

        client = self.client(Late())
        response = client.request("GET", "/")
        self.assertEqual((response.code, response.json["message"]), FAULT)
        client.connect().dataReceived(b"GET /begun HTTP/1.1\r\nHost: gateway:8888\r\n\r\n")
        written = client.transport.value()
        self.assertTrue(written.endswith(b"d\r\nthe beginning\r\n"), written)
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_fails_for_nobody(self) -> None:
        """
        What fails when the client has gone is logged all the same.
        """
        asked: list[Any] = []

        class Late(Resource):
            isLeaf = True

            def render(self, request: Any) -> int:
                asked.append(request)
                return NOT_DONE_YET

        client = self.client(Late())
        channel = client.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: gateway:8888\r\n\r\n")
        channel.connectionLost(Failure(ConnectionLost()))
        asked[0].processingFailed(Failure(ValueError("a secret")))
        self.assertEqual(client.transport.value(), b"")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_fails_closed(self) -> None:
        """
        Whoever does not say what a path demands lets nobody in.
        """

        def fault() -> None:
            raise ValueError("a secret")

        for access in (None, True, fault):
            client = self.client(Data(b"secret", "text/plain"), access, auth_token="x")
            response = client.request("GET", "/?token=x")
            self.assertEqual((response.code, response.json["message"]), FAULT)
        self.assertEqual(len(self.flushLoggedErrors(TypeError, ValueError)), 3)


class PluginOptionsTests(SynchronousTestCase):
    """
    Options of personalities that others have made, on the command line.
    """

    def setUp(self) -> None:
        class Choosy(Maker):
            options = (
                PersonalityOption("most", "Most of it.", whole_number, 7),
                PersonalityOption("loud", "Loudly.", switch, False),
                PersonalityOption("odd", "Odd.", odd),
                PersonalityOption("few-names", "Names.", readers.names),
                PersonalityOption("pass-word", "Secret.", secret=True),
                PersonalityOption("home", "Where.", readers.path),
            )

        self.makers: list[Any] = [Choosy(Plain()), Maker(Plain()), object()]

    def parsed(self, *arguments: str, **environ: str) -> Any:
        """
        :return: What the personality is given.
        """
        self.patch(os, "environ", environ)
        options = options_with(self.makers)
        options.parseOptions(list(arguments))
        return options.settings.personality_options

    def test_sources(self) -> None:
        """
        The command line wins over the environment; what is not said is not there.
        """
        api = "--api=of-somebody"
        self.assertEqual(self.parsed(api), {})
        self.assertEqual(self.parsed(api, "--of-somebody-most=3", "--of-somebody-loud"),
                         {"most": 3, "loud": True})  # fmt: skip
        self.assertEqual(self.parsed(api, KGD_OF_SOMEBODY_MOST="4"), {"most": 4})
        self.assertEqual(
            self.parsed(api, "--of-somebody-most=5", KGD_OF_SOMEBODY_MOST="4"), {"most": 5}
        )
        self.assertEqual(self.parsed("--of-somebody-most=5"), {})

    def test_wrong(self) -> None:
        """
        A value that is not valid is a usage error; another gateway does not know the option.
        """
        error = self.assertRaises(UsageError, self.parsed, "--of-somebody-most=x")
        self.assertIn("--of-somebody-most=x is not valid; use a whole number from 0", str(error))
        error = self.assertRaises(UsageError, self.parsed, KGD_OF_SOMEBODY_ODD="2")
        self.assertIn("--of-somebody-odd=2 (set in the variable KGD_OF_SOMEBODY_ODD)", str(error))
        self.makers.clear()
        self.assertRaises(UsageError, self.parsed, "--of-somebody-most=3")

    def test_files_and_traits(self) -> None:
        """
        They come from files, too, and as the Jupyter Kernel Gateway would call them.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        files = {
            "kgd.toml": 'of-somebody-most = 8\nof_somebody_few_names = ["a", "b"]\n',
            "j.py": "c.OfSomebodyPersonality.most = 8\n"
            "c.OfSomebodyPersonality.few_names = ['a', 'b']\n",
            "j.json": '{"OfSomebodyPersonality": {"most": 8, "few_names": ["a", "b"]}}',
        }
        expected = {"most": 8, "few-names": {"a", "b"}}
        for name, content in files.items():
            (directory / name).write_text(content)
            config = f"--config={directory / name}"
            self.assertEqual(self.parsed("--api=of_somebody", config), expected)
            for stronger in ("--of_somebody_most=9", "--OfSomebodyPersonality.most=9"):
                found = self.parsed("--api=of_somebody", config, stronger)
                self.assertEqual(found, expected | {"most": 9})
            found = self.parsed("--api=of_somebody", config, KGD_OF_SOMEBODY_MOST="10")
            self.assertEqual(found, expected | {"most": 10})
        found = self.parsed(
            "--api=of_somebody", "--OfSomebodyPersonality.few_names=['a', 'b']",
            "--OfSomebodyPersonality.loud", "--OfSomebodyPersonality.most", "8",
        )  # fmt: skip
        self.assertEqual(found, expected | {"loud": True})
        (directory / "kgd.toml").write_text("of-somebody-most = true\n")
        error = self.assertRaises(UsageError, self.parsed, f"--config={directory / 'kgd.toml'}")
        self.assertIn("--of-somebody-most=true (set as of-somebody-most in", str(error))
        self.assertRaises(UsageError, self.parsed, "--OfSomebodyPersonality.nothing=1")

    def test_shown(self) -> None:
        """
        They are shown, with their origin, and in the file to begin with; secrets are not, nor do
        they get into the log.
        """
        for said in (["--show-config"], ["--show-config-json"]):
            printed = StringIO()
            self.patch(sys, "stdout", printed)
            arguments = ["--api=of_somebody", "--of-somebody-most=9", *said]
            self.assertRaises(
                SystemExit, self.parsed, *arguments, KGD_OF_SOMEBODY_PASS_WORD="s3cret"
            )
            shown = printed.getvalue()
            self.assertNotIn("s3cret", shown)
        for name, value, origin in (
            ("most", 9, "on the command line"),
            ("odd", "", "default"),
            ("pass-word", "***", "in the variable KGD_OF_SOMEBODY_PASS_WORD"),
        ):
            found = json.loads(shown)[f"of-somebody-{name}"]
            self.assertEqual(found, {"value": value, "from": origin})
        options = options_with(self.makers)
        options.parseOptions(["--api=of_somebody", "--of-somebody-pass-word=s3cret"])
        self.assertEqual(options.secrets, ["s3cret"])
        self.assertNotIn("s3cret", repr(options.settings))
        text = config_file(options.table)
        self.assertIn("#of-somebody-most = 7\n", text)
        self.assertEqual(tomllib.loads(text), {})

    def test_taken(self) -> None:
        """
        An option of another's stays that of the other.
        """

        class Greedy(Maker):
            name = "max"
            options = (PersonalityOption("kernels", "Mine.", default="mine"),)

        self.makers.append(Greedy(Plain()))
        self.patch(os, "environ", {})
        options = options_with(self.makers)
        options.parseOptions(["--api=max", "--max-kernels=3"])
        self.assertEqual(options.settings.max_kernels, 3)
        self.assertEqual(options.settings.personality_options, {})

    def test_odd(self) -> None:
        """
        A plug-in without a name, or with options that are none, keeps no gateway from starting.
        """
        nameless, odd = Maker(Plain()), Maker(Plain())
        nameless.name = None  # type: ignore[assignment]
        odd.options = 5  # type: ignore[attr-defined]
        self.makers += [nameless, odd]
        self.patch(os, "environ", {})
        options = options_with(self.makers)
        options.parseOptions(["--max-kernels=3"])
        self.assertEqual(options.settings.max_kernels, 3)

    def test_jail(self) -> None:
        """
        Their paths are moved into a jail like ours.
        """
        table = table_with(self.makers)
        settings = Settings(root_dir="/jail", personality_options={"home": "/jail/home", "most": 3})
        found = chrooted(settings, "/jail", table.rows).personality_options
        self.assertEqual(found, {"home": "/home", "most": 3})
        outside = Settings(root_dir="/jail", personality_options={"home": "/home"})
        error = self.assertRaises(UsageError, chrooted, outside, "/jail", table.rows)
        self.assertIn("--of-somebody-home=/home is", str(error))

    def test_settings_from(self) -> None:
        """
        An application can make settings as the daemon does; they win over variables, and those
        over a file.
        """
        self.patch(plugin_options, "plugin_makers", lambda: self.makers)
        file = Path(self.mktemp())
        file.write_text('port = 1\nmax-kernels = 1\nlist-kernels = true\nallow-origin = "*"\n')
        found = kgd.settings_from(
            {"max_kernels": 3, "max-body-size": "2MiB", "api": "of-somebody",
             "of-somebody-most": 8, "audit-log": Path("/audit"),
             "allow-origin": ["https://a.example", "https://b.example"]},
            environ={"KGD_MAX_KERNELS": "2", "KG_PORT": "2"},
            file=str(file),
        )  # fmt: skip
        self.assertEqual((found.max_kernels, found.port, found.list_kernels), (3, 2, True))
        self.assertEqual((found.max_body_size, found.audit_log), (2 * MEBIBYTE, "/audit"))
        self.assertEqual(found.personality_options, {"most": 8})
        self.assertEqual(found.cors.allow_origin, "https://a.example,https://b.example")
        self.patch(os, "environ", {"KGD_PORT": "5", "JUPYTER_CONFIG_DIR": str(file.parent)})
        self.assertEqual(kgd.settings_from(), Settings(root_dir=os.getcwd()))
        for values, says in (
            ({"port": "x"}, "--port=x (set as port in the settings) is not valid; use a port"),
            (
                {"prot": 1},
                "the settings have the key 'prot', which is not an option; did you mean 'port'?",
            ),
        ):
            error = self.assertRaises(ConfigurationError, kgd.settings_from, values)
            self.assertIn(says, str(error))

    def test_help(self) -> None:
        """
        They are in the help.
        """
        self.patch(os, "environ", {})
        self.assertIn("--of-somebody-most", str(options_with(self.makers)))
        printed = StringIO()
        self.patch(sys, "stdout", printed)
        self.assertRaises(SystemExit, options_with(self.makers).parseOptions, ["--help-all"])
        text = " ".join(printed.getvalue().split())
        self.assertIn(" Options of the personality of_somebody: --of-somebody-most=N Most ", text)
        self.assertIn(" Most of it. A whole number from 0 to 2147483647. [default: 7] ", text)


def odd(value: str) -> int:
    if int(value) % 2 == 0:
        raise ValueError
    return int(value)


odd.__doc__ = None


class JupyterWebsocketTests(PersonalityContract, SynchronousTestCase):
    """
    The contract, and one of ours.
    """

    served = ("/api", "/api/kernels", "/api/kernelspecs", "/api/swagger.json", "/api/sessions")
    public = ("/api/swagger.json", "/api/openapi.json", "/api/docs", "/api/docs/docs.js")

    def make_maker(self) -> IPersonalityMaker:
        """
        :return: Its maker.
        """
        return jupyter_websocket.maker


class NotebookHTTPTests(PersonalityContract, SynchronousTestCase):
    """
    The contract, and the other.
    """

    served = ("/message", "/hello/x", "/_api/docs", "/_api/docs/docs.js")
    public = ("/_api/docs/docs.js",)

    def make_maker(self) -> IPersonalityMaker:
        """
        :return: Its maker.
        """
        return notebook_http.maker

    def make_settings(self, **more: Any) -> Settings:
        """
        :return: Settings with a notebook.
        """
        path = Path(self.mktemp())
        path.mkdir()
        (path / "n.ipynb").write_bytes(KERNEL_API)
        return Settings(seed_uri=(str(path / "n.ipynb"),), **more)


class HelloTests(PersonalityContract, SynchronousTestCase):
    """
    The contract, and the personality of the example.
    """

    served = ("/", "/run")
    public = ("/",)

    def make_maker(self) -> IPersonalityMaker:
        """
        :return: Its maker.
        """
        self.patch(sys, "path", [str(EXAMPLE), *sys.path])
        maker: IPersonalityMaker = importlib.import_module("kgd_hello").maker
        return maker

    def test_requests(self) -> None:
        """
        It answers, and names the methods of its paths.
        """
        client = self.serve(auth_token="t", personality_options={"greeting": "Moin"})
        self.assertEqual(client.request("GET", "/").body, b"Moin! Try /run?code=6*7\n")
        self.gateway.outputs.append(Outputs(stdout="42"))
        answer = client.request("GET", "/run?code=6*7&token=t")
        self.assertEqual((answer.code, answer.json["printed"]), (200, "42"))
        self.assertEqual(client.request("GET", "/run?token=t").code, 400)
        response = client.request("POST", "/run?token=t")
        self.assertEqual(
            (response.code, response.headers["allow"], response.json["message"]),
            (405, "GET, HEAD, OPTIONS", ""),
        )


class OlderHelloTests(HelloTests):
    """
    The same in the older form, as the example had it.
    """

    def make_maker(self) -> IPersonalityMaker:
        """
        :return: A maker of personalities that have ``resource``, ``access`` and ``methods``.
        """
        maker = super().make_maker()

        @implementer(IPersonalityMaker)
        class OlderMaker:
            name = maker.name
            options = getattr(maker, "options", ())

            def make(self, gateway: IGateway) -> Any:
                newer: Any = maker.make(gateway)
                members = {name: value for name, value in vars(type(newer)).items()
                           if not name.startswith("__") and name != "match"}  # fmt: skip
                older: Any = type("Older", (), members | {
                    "__init__": lambda self: self.__dict__.update(vars(newer)),
                    "resource": lambda self: self._table.resource(),
                    "access": lambda self, path: self._table.access(path),
                    "methods": lambda self, path: self._table.methods(path),
                })  # fmt: skip
                return implementer(IPersonality, IDrainable)(older)()

        return OlderMaker()
