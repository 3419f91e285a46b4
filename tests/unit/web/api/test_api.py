"""
The REST API of ``jupyter_websocket``, in memory.
"""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Any, ClassVar, NoReturn

import yaml
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from werkzeug.http import parse_etags
from zope.interface.verify import verifyObject

from kgd import errors
from kgd.endpoints.origins import is_allowed_origin
from kgd.interfaces import IPersonality, StartRequest
from kgd.settings import CORS
from kgd.testing.kernels import FakeClient, MemoryKernel
from kgd.testing.web import Response
from kgd.web.api import channels
from tests.support.api import UNKNOWN, APITestCase


def refuse_upgrade(protocol: object) -> NoReturn:
    """
    Stands for the upgrade: there is no network whose connection could be taken over.
    """
    raise errors.InvalidRequest("accepted")


EVERY_ROUTE = [
    ("GET", "/api"),
    ("GET", "/api/kernels"),
    ("POST", "/api/kernels"),
    ("GET", f"/api/kernels/{UNKNOWN}"),
    ("DELETE", f"/api/kernels/{UNKNOWN}"),
    ("POST", f"/api/kernels/{UNKNOWN}/interrupt"),
    ("POST", f"/api/kernels/{UNKNOWN}/restart"),
    ("GET", f"/api/kernels/{UNKNOWN}/channels"),
    ("POST", f"/api/kernels/{UNKNOWN}/execute"),
    ("GET", f"/api/kernels/{UNKNOWN}/executions"),
    ("GET", f"/api/kernels/{UNKNOWN}/executions/unknown"),
    ("DELETE", f"/api/kernels/{UNKNOWN}/executions/unknown"),
    ("POST", f"/api/kernels/{UNKNOWN}/executions/unknown/input"),
    ("GET", f"/api/kernels/{UNKNOWN}/artifacts/unknown"),
    ("GET", f"/api/kernels/{UNKNOWN}/files"),
    ("GET", f"/api/kernels/{UNKNOWN}/files/a"),
    ("PUT", f"/api/kernels/{UNKNOWN}/files/a"),
    ("DELETE", f"/api/kernels/{UNKNOWN}/files/a"),
    ("GET", "/api/kernelspecs"),
    ("GET", "/api/kernelspecs/python3"),
    ("GET", "/kernelspecs/python3/logo-64x64.png"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("GET", f"/api/sessions/{UNKNOWN}"),
    ("PATCH", f"/api/sessions/{UNKNOWN}"),
    ("DELETE", f"/api/sessions/{UNKNOWN}"),
    ("GET", "/api/status"),
    ("GET", "/api/me"),
    ("PATCH", "/api/me"),
    ("GET", "/metrics"),
]


# The value of --allow-origin, who asks a gateway at http://gateway:8888, and whether that may be.
ORIGINS = (
    ("", "http://gateway:8888", True),
    ("", "http://gateway", False),
    ("", "http://localhost:8888", False),
    ("", "fake.com:8888", False),
    ("", "null", False),
    ("", "http://[", False),
    ("", "http://\xff", False),
    ("", "https://gateway:8888", False),
    ("", "http://gateway:8888/", False),
    ("", "http://gateway:8888.evil.org", False),
    ("", "http://evil@gateway:8888", False),
    ("", "http://GATEWAY:8888", True),
    ("*", "http://fake.com", True),
    ("http://a.com", "http://a.com", True),
    ("http://a.com", "HTTP://A.com", True),
    ("http://a.com", "http://b.com", False),
    ("http://a.com", "http://a.com.evil.org", False),
    ("http://a.com", "https://a.com", False),
    ("http://a.com", "http://a.com:8080", False),
    ("http://a.com", "http://a.com:80", True),
    ("http://a.com", "http://b.a.com", False),
    ("http://a.com", "http://a.comevil.org", False),
    ("http://a.com", "http://evil.org/http://a.com", False),
    ("http://a.com", "http://evil.org?http://a.com", False),
    ("http://a.com", "http://a.com http://evil.org", False),
    ("http://a.com", "null", False),
    ("http://a.com", "", False),
    ("null", "null", False),
    ("a.com", "a.com", False),
    ("https://a.com/", "https://a.com", True),
    ("http://[::1]:8888", "http://[::1]:8888", True),
    ("vscode-webview://x", "vscode-webview://x", True),
    ("http://a.com, http://b.com", "http://b.com", True),
    ("", "http://gateway:88888", False),
    ("", "http://gateway:8888\t", True),
    ("", "http://gateway.:8888", False),
    ("", "http://gateway:8888@evil.org", False),
    ("", "http://gateway:8888#.evil.org", False),
    ("", "http://gateway:8888\\.evil.org", False),
    ("", "http://gateway:8888%2eevil.org", False),
    ("", "//gateway:8888", False),
    ("", "file://", False),
    ("https://good.example", "https://good.example", True),
    ("https://good.example", "https://good.example.evil.com", False),
    ("https://good.example", "https://good.example:8443", False),
    ("https://good.example", "http://good.example", False),
    ("https://good.example", "https://evil.com,https://good.example", False),
    ("https://*.example", "https://good.example", False),
    ("http://a.com, null", "null", False),
)


class PersonalityTests(APITestCase):
    """
    The seam.
    """

    def test_interface(self) -> None:
        """
        It provides what a personality promises; starting and stopping it has nothing to wait for.
        """
        verifyObject(IPersonality, self.personality)
        self.successResultOf(self.personality.start())
        self.successResultOf(self.personality.stop())


class AboutTests(APITestCase):
    """
    ``/api`` and what all answers have.
    """

    def test_version(self) -> None:
        """
        A version that clients can compare, as JSON without a charset.
        """
        response = self.request("GET", "/api")
        self.assertEqual(response.code, 200)
        self.assertRegex(response.json["version"], r"^2\.\d+\.\d+$")
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(response.headers["x-content-type-options"], "nosniff")
        self.assertEqual(response.headers["server"], "kgd")
        for name in ("set-cookie", "content-security-policy", "access-control-allow-origin"):
            self.assertNotIn(name, response.headers)

    def test_not_modified(self) -> None:
        """
        A client that has the body already is told so, even if a proxy has weakened the tag or it is
        one of several. What is not a tag is not taken for one, as werkzeug's ``parse_etags`` would.
        """
        for path in ("/api", "/api/kernelspecs"):
            tag = self.request("GET", path).headers["etag"]
            for given in (tag, f"W/{tag}", f'"a,b" ,W/{tag}', f',, "a",{tag} , "b"', "*"):
                response = self.request("GET", path, if_none_match=given)
                self.assertEqual((response.code, response.body), (304, b""), given)
                self.assertEqual(response.headers["etag"], tag)
            for given in (
                tag.strip('"'),
                f"w/{tag}",
                f"W/ {tag}",
                f'x"{tag}',
                f"{tag}x",
                "",
                '"*"',
            ):
                response = self.request("GET", path, if_none_match=given)
                self.assertEqual(response.code, 200, given)
            self.assertTrue(parse_etags(f"w/{tag}").contains_weak(tag.strip('"')))
        response = self.request("POST", "/api/kernels", b"", if_none_match="*")
        self.assertEqual(response.code, 201)

    def test_head(self) -> None:
        """
        HEAD is GET without the body.
        """
        for path in ("/api", "/api/kernelspecs", "/api/kernelspecs/python3"):
            got, head = self.request("GET", path), self.request("HEAD", path)
            self.assertEqual((head.code, head.body), (200, b""))
            self.assertEqual(head.headers["content-length"], str(len(got.body)))

    def test_unknown_paths(self) -> None:
        """
        What is not served is a 404 in JSON, whatever the method and however it is written.
        """
        for path in (
            "/", "/tree", "/api/", "/api/contents", "/api/kernels/notanid", "/api//kernels",
            f"/api/kernels/{UNKNOWN}/explode", "/%61pi", "/api%2Fkernels", "/api/kernels%00",
            "/api/kernelspecs/a/b", "/kernelspecs", "/login",
        ):  # fmt: skip
            for method in ("GET", "POST", "HEAD"):
                response = self.request(method, path)
                self.assertEqual(response.code, 404, path)
            self.assertError(self.request("GET", path), 404)

    def test_wrong_methods(self) -> None:
        """
        A method that a path does not know is a 405 that lists those which it does.
        """
        response = self.request("PUT", "/api/kernels")
        self.assertError(response, 405)
        self.assertEqual(response.headers["allow"], "GET, HEAD, OPTIONS, POST")
        for method, path in product(
            ("PUT", "TRACE", "PROPFIND", "PATCH"), ("/api", "/api/kernels")
        ):
            self.assertEqual(self.request(method, path).code, 405)

    def test_query_is_ignored(self) -> None:
        """
        Clients add bare time stamps to paths.
        """
        self.serve(list_kernels=True)
        for query in ("?1700000000000", "?_=1", "?a=%ff"):
            self.assertEqual(self.request("GET", f"/api/kernels{query}").code, 200)

    def test_base_url(self) -> None:
        """
        All forms of a base URL mount the same tree, and links begin with it.
        """
        for base in ("/fake/path", "fake/path", "fake/path/", "//fake//path//"):
            self.serve(base_url=base)
            self.assertEqual(self.request("GET", "/fake/path/api").code, 200)
            self.assertError(self.request("GET", "/api"), 404)
            self.assertError(self.request("GET", "/fake/pathapi"), 404)
            response = self.request("POST", "/fake/path/api/kernels")
            kernel_id = response.json["id"]
            self.assertEqual(response.headers["location"], f"/fake/path/api/kernels/{kernel_id}")
            specs = self.request("GET", "/fake/path/api/kernelspecs").json["kernelspecs"]
            self.assertEqual(
                specs["python3"]["resources"],
                {"logo-64x64": "/fake/path/kernelspecs/python3/logo-64x64.png"},
            )


class TokenTests(APITestCase):
    """
    The guard.
    """

    def setUp(self) -> None:
        super().setUp()
        self.serve(auth_token="right", list_kernels=True)

    def test_refused(self) -> None:
        """
        No route does anything for a wrong token, wherever it is.
        """
        wrong = ("", "wrong", "righ", "rightt", "right ", "RIGHT", "r\xefght", "x" * 5000, "%00")
        for (method, path), token in product(EVERY_ROUTE, wrong):
            attempts = [
                self.request(method, f"{path}?token={token}".replace(" ", "%20")),
                self.request(method, path, authorization=f"token {token.rstrip()}x"),
                self.request(method, path, authorization=f"Basic {token}"),
                self.request(
                    method,
                    f"{path}?token={token}".replace(" ", "%20"),
                    authorization="token right",
                ),
            ]
            for response in attempts:
                if response.code != 400:  # HTTP itself refuses a byte in the target
                    self.assertError(response, 401, "")
                    self.assertNotIn("set-cookie", response.headers)
        for method, path in EVERY_ROUTE:
            self.assertError(self.request(method, path), 401, "")
        self.assertEqual(list(self.kernels.list()), [])

    def test_admitted(self) -> None:
        """
        The right token is admitted as an argument, which wins, and in the header in both schemes.
        """
        for path, header in (
            ("/api?token=right", None),
            ("/api?token=right", "token wrong"),
            ("/api", "token right"),
            ("/api", "Bearer right"),
            ("/api", "bearer  right"),
            ("/api", "TOKEN right"),
        ):
            headers = {} if header is None else {"authorization": header}
            self.assertEqual(self.request("GET", path, **headers).code, 200, (path, header))

    def test_other_arguments(self) -> None:
        """
        What looks like a token within another argument is none: it would not be taken for one
        where tokens are kept secret.
        """
        for path in ("/api?a=1;token=right", "/api?;token=right"):
            self.assertError(self.request("GET", path), 401, "")
            response = self.request("GET", path.replace("right", "x"), authorization="token right")
            self.assertEqual(response.code, 200)
        self.assertEqual(self.request("GET", "/api?a=;&t%6fken=ri%67ht").code, 200)

    def test_no_token_needed(self) -> None:
        """
        Preflights, the description and what does not exist need none.
        """
        for _, path in EVERY_ROUTE:
            response = self.request("OPTIONS", path)
            self.assertEqual((response.code, response.body), (200, b""))
        for path in ("/api/swagger.json", "/api/swagger.yaml"):
            self.assertEqual(self.request("GET", path).code, 200)
        self.assertError(self.request("GET", "/nope"), 404)

    def test_no_token_set(self) -> None:
        """
        Without a token of the gateway's, whatever a client sends is welcome.
        """
        self.serve()
        for header in ("token ", "token x", "Bearer", "Basic eDp5"):
            self.assertEqual(self.request("GET", "/api", authorization=header).code, 200)


class CORSTests(APITestCase):
    """
    Web pages of other origins.
    """

    HEADERS: ClassVar[dict[str, str]] = {
        "access-control-allow-origin": "*",
        "access-control-allow-credentials": "true",
        "access-control-allow-headers": "X-One, X-Two",
        "access-control-allow-methods": "GET, POST",
        "access-control-expose-headers": "X-Three",
        "access-control-max-age": "600",
    }

    def test_on_everything(self) -> None:
        """
        The headers are on every answer, errors too.
        """
        cors = CORS(**{name[15:].replace("-", "_"): value
                       for name, value in self.HEADERS.items()
                       if name.startswith("access-control-allow")},
                    expose_headers="X-Three", max_age="600")  # fmt: skip
        self.serve(cors=cors, auth_token="t")
        answers = [
            self.request("GET", "/api"),
            self.request("GET", "/nope"),
            self.request("OPTIONS", "/api/kernels"),
            self.request("GET", "/api/swagger.json"),
            self.request("GET", "/api?token=t"),
            self.request("PUT", "/api?token=t"),
            self.request("GET", "/api/kernels?token=t"),
            self.request("HEAD", "/kernelspecs/python3/logo-64x64.png?token=t"),
        ]
        self.assertEqual([a.code for a in answers], [401, 404, 200, 200, 200, 405, 403, 200])
        for answer in answers:
            self.assertEqual(self.HEADERS, {n: answer.headers.get(n) for n in self.HEADERS})

    def test_behind_a_proxy(self) -> None:
        """
        A trusted proxy may say that a page of the gateway's own origin came over https.
        """
        headers = {"Origin": "https://gateway:8888", "X_Forwarded_Proto": "https"}
        for trusted, code in ((False, 404), (True, 200)):
            self.serve(trust_xheaders=trusted)
            self.assertEqual(self.request("GET", "/api", **headers).code, code)

    def test_origins(self) -> None:
        """
        Pages of the gateway's own origin and of the allowed ones may ask; others find nothing.
        """
        for setting, origin, allowed in ORIGINS:
            self.serve(cors=CORS(allow_origin=setting))
            response = self.request("GET", "/api", origin=origin)
            self.assertEqual(response.code, 200 if allowed else 404, (setting, origin))
            if not allowed:
                self.assertError(response, 404, "")
            self.assertNotIn("set-cookie", response.headers)

    def test_state_is_not_changed(self) -> None:
        """
        What a page of another origin asks for is not done, even if it would not see the answer.
        """
        for setting, origin, allowed in ORIGINS:
            self.serve(cors=CORS(allow_origin=setting))
            for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
                self.request("POST", "/api/kernels", b"", origin=origin, content_type=kind)
            self.assertEqual(bool(self.kernels.list()), allowed, (setting, origin))

    def test_over_tls(self) -> None:
        """
        The gateway's own origin is https when it speaks TLS, and http when it does not.
        """
        for origin, host, secure, allowed in (
            ("https://g", "g", True, True),
            ("https://g:443", "g", True, True),
            ("https://g", "g:443", True, True),
            ("https://g:8888", "g:8888", True, True),
            ("http://g", "g", True, False),
            ("http://g:443", "g", True, False),
            ("https://g", "g", False, False),
            ("http://g:80", "g", False, True),
            ("http://g", None, False, False),
            ("http://", "", False, False),
        ):
            self.assertEqual(
                is_allowed_origin(origin, host, "", secure=secure), allowed, (origin, host)
            )

    def test_several_origins(self) -> None:
        """
        Of several allowed origins the one that asks is named.
        """
        self.serve(cors=CORS(allow_origin="http://a.com,http://b.com"))
        response = self.request("GET", "/api", origin="http://b.com")
        self.assertEqual(response.headers["access-control-allow-origin"], "http://b.com")
        self.assertEqual(response.headers["vary"], "Origin")
        response = self.request("GET", "/api", origin="http://c.com")
        self.assertNotIn("access-control-allow-origin", response.headers)

    def test_private_network(self) -> None:
        """
        A browser that asks whether a page may come from a public network is told so if the operator
        has, and if the page may come at all.
        """
        asked = {
            "access_control_request_method": "POST",
            "access_control_request_private_network": "true",
        }
        name = "access-control-allow-private-network"
        cors = CORS(allow_origin="https://a.com")
        for settings, origin, expected in (
            ({"cors": cors}, "https://a.com", None),
            ({"cors": cors, "allow_private_network": True}, "https://a.com", "true"),
            ({"cors": cors, "allow_private_network": True}, "https://b.com", None),
            ({"cors": cors, "allow_private_network": True}, "null", None),
        ):
            self.serve(auth_token="t", **settings)
            response = self.request("OPTIONS", "/api/kernels", origin=origin, **asked)
            self.assertEqual((response.code, response.headers.get(name)), (200, expected))
        response = self.request("OPTIONS", "/api/kernels", origin="https://a.com")
        self.assertNotIn(name, response.headers)

    def test_files_for_any_origin(self) -> None:
        """
        A logo may be shown by any page.
        """
        path = "/kernelspecs/python3/logo-64x64.png"
        self.assertEqual(self.request("HEAD", path, origin="http://x.com").code, 200)


class KernelsTests(APITestCase):
    """
    ``/api/kernels``.
    """

    def test_start(self) -> None:
        """
        A start is a 201 with the model and the place of the kernel.
        """
        response = self.request("POST", "/api/kernels")
        self.assertEqual(response.code, 201)
        model = response.json
        self.assertEqual(
            sorted(model), ["connections", "execution_state", "id", "last_activity", "name"]
        )
        self.assertEqual((model["name"], model["connections"]), ("python3", 0))
        self.assertEqual(response.headers["location"], f"/api/kernels/{model['id']}")
        self.assertRegex(model["last_activity"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertEqual(self.request("GET", f"/api/kernels/{model['id']}").json, model)

    def test_what_is_asked_for(self) -> None:
        """
        All fields reach the kernels, whatever the content type; unknown ones are ignored.
        """
        body = {"name": "python3", "path": "a/b", "env": {"KERNEL_X": "1"}, "kernel_id": UNKNOWN,
                "more": 1}  # fmt: skip
        response = self.request(
            "POST", "/api/kernels", body, content_type="application/x-www-form-urlencoded"
        )
        self.assertEqual(response.code, 201)
        (kernel,) = self.kernels.list()
        self.assertEqual(
            getattr(kernel, "request"),  # noqa: B009
            StartRequest(name="python3", path="a/b", env={"KERNEL_X": "1"}, kernel_id=UNKNOWN),
        )

    def test_no_body(self) -> None:
        """
        No body, null and an empty object are the same.
        """
        for body in (None, b"", b"null", b"{}", b'{"name": null, "path": null}'):
            self.assertEqual(self.request("POST", "/api/kernels", body).code, 201)

    def test_malformed_bodies(self) -> None:
        """
        What is no JSON object, or has a wrong field, is a 400 that says so.
        """
        for raw in (b"{bad", b"\xff", b"[" * 100_000):
            response = self.request("POST", "/api/kernels", raw)
            self.assertError(response, 400, "Invalid JSON in body of request")
        others: list[Any] = [[], 5, "x", True]
        for body in others:
            response = self.request("POST", "/api/kernels", body)
            self.assertError(response, 400, "JSON body must be an object")
        others = ["text", None, [], 5]
        for env in others:
            self.assertError(self.request("POST", "/api/kernels", {"env": env}), 400, "")
        for body, text in (
            ({"env": {"B": "1", "A": 1}}, "the value of A in env must be a string"),
            ({"name": 5}, "name must be a string"),
            ({"path": []}, "path must be a string"),
            ({"kernel_id": {}}, "kernel_id must be a string"),
        ):
            self.assertError(self.request("POST", "/api/kernels", body), 400, text)
        # Also what nobody reads has to be JSON.
        response = self.request("POST", "/api/kernels", b'{"other": "\xff"}')
        self.assertError(response, 400, "Invalid JSON in body of request")
        self.assertEqual(list(self.kernels.list()), [])

    def test_failures(self) -> None:
        """
        What goes wrong with the kernel is said; a defect of ours is not told to clients.
        """
        response = self.request("POST", "/api/kernels", {"name": "nope"})
        self.assertError(response, 404, "No such kernel: nope")
        self.kernels.error = errors.KernelStartFailed("the program is missing")
        self.assertError(self.request("POST", "/api/kernels"), 500, "the program is missing")
        self.kernels.error = ZeroDivisionError("a secret")
        self.assertError(self.request("POST", "/api/kernels"), 500, "Unknown server error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_limit(self) -> None:
        """
        When there is no room, that is said before the body is even looked at.
        """
        self.serve(max_kernels=1)
        kernel_id = self.start()
        for body in (None, b"{bad"):
            self.assertError(self.request("POST", "/api/kernels", body), 403, "Resource Limit")
        self.assertEqual(self.request("DELETE", f"/api/kernels/{kernel_id}").code, 204)
        self.start()

    def test_list(self) -> None:
        """
        Listing has to be allowed; then it is in the order of the starts.
        """
        self.assertError(self.request("GET", "/api/kernels"), 403, "Forbidden")
        self.serve(list_kernels=True)
        self.assertEqual(self.request("GET", "/api/kernels").json, [])
        ids = [self.start(), self.start()]
        self.assertEqual([row["id"] for row in self.request("GET", "/api/kernels").json], ids)

    def test_unknown_kernel(self) -> None:
        """
        Every operation on a kernel that is not there is a 404 that names it.
        """
        for method, path in EVERY_ROUTE:
            if f"kernels/{UNKNOWN}" in path and not path.endswith("channels"):
                response = self.request(method, path)
                self.assertError(response, 404, f"Kernel does not exist: {UNKNOWN}")

    def test_operations(self) -> None:
        """
        Interrupt and delete are 204, restart is 200 with the model.
        """
        kernel_id = self.start()
        path = f"/api/kernels/{kernel_id}"
        response = self.request("POST", f"{path}/interrupt", b"{}")
        self.assertEqual((response.code, response.body), (204, b""))
        self.assertNotIn("content-type", response.headers)
        response = self.request("POST", f"{path}/restart")
        self.assertEqual((response.code, response.json["id"]), (200, kernel_id))
        self.assertEqual(self.kernels.restarted, [kernel_id])
        self.assertEqual(self.kernels.interrupted, [kernel_id])
        response = self.request("DELETE", path)
        self.assertEqual((response.code, response.body), (204, b""))
        self.assertError(self.request("GET", path), 404)

    def test_operations_that_fail(self) -> None:
        """
        Why they failed is said.
        """
        kernel_id = self.start()
        self.kernels.error = errors.RestartFailed("Exception restarting kernel: it is gone")
        response = self.request("POST", f"/api/kernels/{kernel_id}/restart")
        self.assertError(response, 500, "Exception restarting kernel: it is gone")
        self.kernels.error = errors.RestartFailed("it restarts")
        response = self.request("POST", f"/api/kernels/{kernel_id}/interrupt")
        self.assertError(response, 500, "it restarts")

    def test_a_client_that_hangs_up(self) -> None:
        """
        It cancels its own wait, and nothing is logged as an error.
        """
        cancelled: list[object] = []
        waiting: Deferred[Any] = Deferred(cancelled.append)
        self.patch(self.kernels, "start", lambda request: waiting)
        protocol = self.client.connect()
        protocol.dataReceived(b"POST /api/kernels HTTP/1.1\r\nHost: x\r\n\r\n")
        protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(cancelled, [waiting])
        self.assertEqual(self.client.transport.value(), b"")


class KernelSpecsTests(APITestCase):
    """
    ``/api/kernelspecs`` and files.
    """

    def test_list(self) -> None:
        """
        The default and all specs, each with exactly the keys that clients read.
        """
        listed = self.request("GET", "/api/kernelspecs").json
        self.assertEqual(listed["default"], "python3")
        row = listed["kernelspecs"]["python3"]
        self.assertEqual(sorted(row), ["name", "resources", "spec"])
        self.assertEqual(
            sorted(row["spec"]),
            ["argv", "display_name", "env", "interrupt_mode", "kernel_protocol_version",
             "language", "metadata"],
        )  # fmt: skip
        self.serve(default_kernel_name="other")
        self.assertEqual(self.request("GET", "/api/kernelspecs").json["default"], "other")

    def test_one(self) -> None:
        """
        In any case; an unknown one is named.
        """
        self.assertEqual(self.request("GET", "/api/kernelspecs/Python3").json["name"], "python3")
        response = self.request("GET", "/api/kernelspecs/a%20b")
        self.assertError(response, 404, "Kernel spec a b not found")

    def test_files_that_are_not_there(self) -> None:
        """
        Nothing outside of the spec's own directory is served, however it is written.
        """
        (self.folder / "sub").mkdir()
        (self.folder / "link").symlink_to("/etc/passwd")
        for name, codes in (
            ("nope.txt", {404}),
            ("sub", {403}),
            ("link", {403}),
            ("../secret", {403, 404}),
            ("%2e%2e/%2e%2e/etc/passwd", {403, 404}),
            ("..%2f..%2fetc%2fpasswd", {403, 404}),
            ("%2Fetc%2Fpasswd", {404}),
            ("a%00b", {404}),
            ("..%5c..%5cx", {404}),
            ("logo-64x64.png/x", {404}),
        ):
            response = self.request("GET", f"/kernelspecs/python3/{name}")
            self.assertIn(response.code, codes, name)
            self.assertError(response, response.code, "")
        response = self.request("GET", "/kernelspecs/nope/x")
        self.assertError(response, 404, "Kernel spec nope not found")


class SwaggerTests(APITestCase):
    """
    The description of the API.
    """

    def test_describes_what_is_served(self) -> None:
        """
        Every path and method of the description is served, and all that is served is described.
        """
        self.serve(base_url="/b", list_kernels=True)
        response = self.request("GET", "/b/api/swagger.json")
        document = response.json
        self.assertEqual((document["swagger"], document["basePath"]), ("2.0", "/b"))
        described = {
            (method.upper(), path)
            for path, operations in document["paths"].items()
            for method in operations
        }
        for method, path in EVERY_ROUTE:
            pattern = path.replace(f"kernels/{UNKNOWN}", "kernels/{kernel_id}")
            pattern = pattern.replace(f"sessions/{UNKNOWN}", "sessions/{session_id}")
            pattern = re.sub("(?<=kernelspecs/)python3", "{spec_name}", pattern)
            pattern = pattern.replace("logo-64x64.png", "{file}")
            pattern = pattern.replace("executions/unknown", "executions/{execution_id}")
            pattern = pattern.replace("artifacts/unknown", "artifacts/{artifact}")
            pattern = re.sub("(?<=files/)a$", "{file}", pattern)
            described.discard((method, pattern))
            self.assertIn(pattern, document["paths"])
        public = ("/api/swagger.json", "/api/swagger.yaml", "/healthz", "/readyz")
        self.assertEqual(described, {("GET", path) for path in public})
        names = ["ApiInfo", "Error", "Kernel", "KernelSpec", "KernelSpecFile", "Session"]
        self.assertEqual(sorted(document["definitions"]), names)
        for name in re.findall(r'"#/definitions/(\w+)"', json.dumps(document)):
            self.assertIn(name, names)

    def test_models_are_as_described(self) -> None:
        """
        What is answered has the fields that the description demands, and no others.
        """
        definitions = self.request("GET", "/api/swagger.json").json["definitions"]
        kernel_id = self.start()
        body = {"path": "a", "type": "notebook", "kernel": {"id": kernel_id}}
        for name, response in (
            ("ApiInfo", self.request("GET", "/api")),
            ("Kernel", self.request("GET", f"/api/kernels/{kernel_id}")),
            ("KernelSpec", self.request("GET", "/api/kernelspecs/python3")),
            ("Session", self.request("POST", "/api/sessions", body)),
            ("Error", self.request("GET", f"/api/kernels/{UNKNOWN}")),
        ):
            self.assertLessEqual(set(definitions[name]["required"]), set(response.json), name)
            self.assertLessEqual(set(response.json), set(definitions[name]["properties"]), name)

    def test_yaml(self) -> None:
        """
        The same in YAML, which is not JSON.
        """
        response = self.request("GET", "/api/swagger.yaml")
        self.assertEqual(response.headers["content-type"], "text/x-yaml")
        self.assertEqual(
            yaml.safe_load(response.body), self.request("GET", "/api/swagger.json").json
        )
        self.assertTrue(response.body.startswith(b'swagger: "2.0"\ninfo:\n  title: "'))


class ConnectionTests(APITestCase):
    """
    HTTP connections.
    """

    def test_no_delay(self) -> None:
        """
        Nagle's algorithm is off.
        """
        self.client.connect()
        self.assertTrue(self.client.transport.no_delay)

    def test_pipelined(self) -> None:
        """
        Requests in one segment are answered one after the other.
        """
        protocol = self.client.connect()
        protocol.dataReceived(b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        self.client.clock.advance(0)
        self.assertEqual(self.client.transport.value().count(b"HTTP/1.1 200 OK"), 3)

    def test_body_limit(self) -> None:
        """
        A body that is announced as too large is refused before it comes; then the connection is
        read for a while in vain, and cut.
        """
        self.serve(max_body_size=10)
        self.assertError(self.request("POST", "/api/kernels", b"x" * 11), 413)
        protocol = self.client.connect()
        protocol.dataReceived(b"POST /api/kernels HTTP/1.1\r\nHost: x\r\n")
        protocol.dataReceived(b"Content-Length: 99999999\r\n\r\n")
        self.assertIn(b"HTTP/1.1 413 ", self.client.transport.value())
        protocol.dataReceived(b"x" * 1000)
        self.assertFalse(self.client.transport.aborted)
        self.client.clock.advance(5)
        self.assertTrue(self.client.transport.aborted)
        self.assertEqual(list(self.kernels.list()), [])

    def test_body_limit_in_chunks(self) -> None:
        """
        A body in chunks is refused as soon as it is too large.
        """
        self.serve(max_body_size=10)
        protocol = self.client.connect()
        protocol.dataReceived(b"POST /api/kernels HTTP/1.1\r\nHost: x\r\n")
        protocol.dataReceived(b"Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n")
        self.assertEqual(self.client.transport.value(), b"")
        protocol.dataReceived(b"6\r\nxxxxxx\r\n")
        self.assertIn(b"HTTP/1.1 413 ", self.client.transport.value())
        self.assertIn(b"at most 10 bytes", self.client.transport.value())


class UpgradeTests(APITestCase):
    """
    Refusals of a WebSocket, before anything is upgraded.
    """

    GOOD: ClassVar[dict[str, str]] = {
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }

    def refused(self, path: str, code: int, **changes: str | None) -> Response:
        """
        Make a handshake with these changes, which is refused in JSON.
        """
        headers = self.GOOD | {name.replace("_", "-"): value for name, value in changes.items()}
        given = {name: value for name, value in headers.items() if value is not None}
        response = self.client.request("GET", path, None, given)
        self.assertError(response, code)
        return response

    def test_refusals(self) -> None:
        """
        Each with its own status.
        """
        path = f"/api/kernels/{self.start()}/channels"
        self.refused(f"/api/kernels/{UNKNOWN}/channels", 404)
        self.refused("/api/kernels/notanid/channels", 404)
        self.refused(path, 400, Upgrade=None)
        self.refused(path, 400, Upgrade="h2c")
        self.refused(path, 400, Upgrade="\xff")
        self.refused(path, 400, Connection="\xff", Sec_WebSocket_Protocol="\xff")
        self.refused(path, 426, Sec_WebSocket_Version="\xff")
        self.refused(path, 400, Connection="keep-alive")
        self.refused(path, 400, Sec_WebSocket_Key=None)
        self.refused(path, 400, Sec_WebSocket_Key="short")
        response = self.refused(path, 426, Sec_WebSocket_Version="8")
        self.assertEqual(response.headers["sec-websocket-version"], "13")
        for origin in ("http://fake.com", "null", "fake.com:8888"):
            self.refused(path, 403, Origin=origin)
            self.refused(f"/api/kernels/{UNKNOWN}/channels", 403, Origin=origin)
        for session_id in ("x" * 256, "%ff", "a%00b", "a%0ab"):
            self.refused(f"{path}?session_id={session_id}", 400)
        self.assertError(self.request("POST", path), 405)
        # None of them has used the kernel.
        self.assertEqual(self.kernels.claimed, [])
        head = self.client.request("HEAD", path, None, self.GOOD)
        self.assertEqual((head.code, head.body), (405, b""))
        self.assertEqual(head.headers["allow"], "GET, OPTIONS")

    def test_claimed(self) -> None:
        """
        A client that is let in uses the kernel; without files for it, it is told to come later,
        unless it comes back to what it has already.
        """
        kernel_id = self.start()
        path = f"/api/kernels/{kernel_id}/channels?session_id=a"
        self.parts.files.promised = lambda: 10**9
        response = self.refused(path, 503)
        self.assertGreater(int(response.headers["retry-after"]), 0)
        self.assertIn("LimitNOFILE", response.json["message"])
        self.assertEqual(self.kernels.claimed, [])
        self.kernels.get(kernel_id).channels.attach("a", FakeClient())
        self.handshake(path)
        self.assertEqual(self.kernels.claimed, [kernel_id])
        self.parts.files.promised = lambda: 0
        self.handshake(path.removesuffix("a") + "b")
        self.assertEqual(self.kernels.claimed, [kernel_id] * 2)

    def handshake(self, path: str) -> None:
        """
        Make a handshake that is accepted.
        """

        self.patch(channels, "UpgradeResource", refuse_upgrade)
        self.assertEqual(self.refused(path, 400).json["message"], "accepted")

    def test_kernel_that_starts(self) -> None:
        """
        The response comes when the kernel answers, has failed, or takes too long; a client that has
        left waits for nothing.
        """
        kernel_id = self.start()
        path = f"/api/kernels/{kernel_id}/channels"
        lines = [f"GET {path} HTTP/1.1", "Host: gateway:8888"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in self.GOOD.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        self.patch(channels, "UpgradeResource", refuse_upgrade)
        clock: Any = self.parts.reactor
        for fire in (
            lambda ready: ready.callback(None),
            lambda ready: ready.errback(errors.KernelStartFailed("it ended")),
            lambda ready: clock.advance(5.0),
        ):
            ready: Deferred[None] = Deferred()
            self.patch(MemoryKernel, "when_ready", lambda _, ready=ready: ready)
            before = len(clock.getDelayedCalls())
            connection = self.client.connect()
            connection.dataReceived(head)
            clock.advance(4.9)
            self.assertEqual(self.client.transport.value(), b"")
            fire(ready)
            self.assertIn(b"accepted", self.client.transport.value())
            self.assertEqual(len(clock.getDelayedCalls()), before)
        self.patch(MemoryKernel, "when_ready", lambda _: Deferred())
        connection = self.client.connect()
        connection.dataReceived(head)
        self.assertEqual(len(clock.getDelayedCalls()), before + 1)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(clock.getDelayedCalls()), before)
        self.serve(ws_start_wait=0.0)
        self.handshake(f"/api/kernels/{self.start()}/channels")

    def test_origins(self) -> None:
        """
        The same pages may open WebSockets that may ask; others are refused before anything else is
        looked at.
        """
        for setting, origin, allowed in ORIGINS:
            self.serve(cors=CORS(allow_origin=setting))
            path = f"/api/kernels/{self.start()}/channels"
            code = 400 if allowed else 403
            self.refused(path, code, Origin=origin, Sec_WebSocket_Key=None)

    def test_token_first(self) -> None:
        """
        Without the token nobody learns whether a kernel exists.
        """
        self.serve(auth_token="t")
        self.refused(f"/api/kernels/{UNKNOWN}/channels", 401)
        self.refused(f"/api/kernels/{UNKNOWN}/channels?token=t", 404)
