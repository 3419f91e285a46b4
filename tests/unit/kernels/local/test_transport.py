"""
How kernels are reached.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kgd.endpoints.addresses import MAX_SOCKET_PATH
from kgd.errors import ConfigurationError, KernelStartFailed
from kgd.interfaces import StartRequest
from kgd.kernels.local.transport import fits_socket_paths, prefers_ipc, supports_ipc, use_curve
from kgd.settings import Settings
from kgd.testing.kernels import kernel_spec
from tests.support.kernel_rig import NOTHING, MemoryRuntime, Rig

ABLE = {"supported_encryption": ["curve"]}
IPYKERNEL = kernel_spec(metadata=ABLE)
OTHER = kernel_spec("other", argv=("other", "{connection_file}"))


class ChoiceTests(SynchronousTestCase):
    """
    What is decided for a kernelspec.
    """

    def assert_speaks(self, expected: bool, *argv: str, **metadata: Any) -> None:
        """
        Whether a kernelspec is known for Unix sockets.
        """
        spec = kernel_spec(argv=argv, metadata=metadata)
        self.assertEqual(supports_ipc(spec), expected, (argv, metadata))

    def test_ipykernel(self) -> None:
        """
        ipykernel is known by its command line, whichever Python runs it.
        """
        for python in ("python", "python3", "/opt/x/bin/python3.12", "pypy3"):
            for module in ("ipykernel_launcher", "ipykernel"):
                argv = (python, "-m", module, "-f", "{connection_file}")
                self.assert_speaks(True, *argv)
        self.assert_speaks(True, "python", "-Xfrozen_modules=off", "-m", "ipykernel_launcher")

    def test_not_known(self) -> None:
        """
        Others are not, nor is ipykernel in something else, which may be a container.
        """
        self.assert_speaks(False)
        self.assert_speaks(False, "ir", "-f", "{connection_file}")
        self.assert_speaks(False, "python", "-m", "bash_kernel", "-f", "{connection_file}")
        self.assert_speaks(False, "docker", "run", "x", "python", "-m", "ipykernel_launcher")
        self.assert_speaks(False, "python-wrapper", "-m", "ipykernel_launcher")
        self.assert_speaks(False, "python", "launch.py", "ipykernel_launcher")

    def test_said(self) -> None:
        """
        The metadata of the kernelspec overrides what is known.
        """
        ipykernel = ("python", "-m", "ipykernel_launcher")
        self.assert_speaks(True, "ir", supported_transports=["tcp", "IPC "])
        self.assert_speaks(True, "ir", supported_transports="ipc")
        self.assert_speaks(False, *ipykernel, supported_transports=["tcp"])
        self.assert_speaks(False, *ipykernel, supported_transports=[])
        self.assert_speaks(False, *ipykernel, supported_transports=7)

    def test_preferred(self) -> None:
        """
        The setting decides for all kernels, unless it leaves it to them.
        """
        for wanted, expected in (
            ("auto", [True, False]),
            ("ipc", [True, True]),
            ("tcp", [False, False]),
        ):
            chosen = [prefers_ipc(wanted, spec) for spec in (IPYKERNEL, OTHER)]
            self.assertEqual(chosen, expected, wanted)

    def test_length(self) -> None:
        """
        It is the bytes of the path that count, with the dash and the number.
        """
        self.assertTrue(fits_socket_paths(Path("/" + "x" * (MAX_SOCKET_PATH - 3))))
        self.assertFalse(fits_socket_paths(Path("/" + "x" * (MAX_SOCKET_PATH - 2))))
        self.assertFalse(fits_socket_paths(Path("/" + "ä" * 60)))
        self.assertFalse(fits_socket_paths(Path("/\udcff")))

    def test_curve(self) -> None:
        """
        Encrypted is what is able to, if it is wanted.
        """
        for said in (["curve"], "curve", " Curve", ["x", "CURVE"]):
            spec = kernel_spec(metadata={"supported_encryption": said})
            chosen = [use_curve(wanted, spec) for wanted in ("disabled", "auto", "required")]
            self.assertEqual(chosen, [False, True, True], said)
        nothing: list[Any] = [{}, {"supported_encryption": []}, {"supported_encryption": None}]
        for metadata in nothing:
            spec = kernel_spec("odd", metadata=metadata)
            self.assertFalse(use_curve("disabled", spec))
            self.assertFalse(use_curve("auto", spec))
            error = self.assertRaises(KernelStartFailed, use_curve, "required", spec)
            self.assertIn("kernelspec odd", str(error))
            self.assertIn("supported_encryption", str(error))


class LongRuntime(MemoryRuntime):
    """
    A runtime directory that is too deep for sockets.
    """

    def sockets(self, name: str) -> Path:
        """
        Far away.
        """
        return Path("/" + 12 * "very-long/") / name


class AddressTests(SynchronousTestCase):
    """
    What kernels get.
    """

    def rig(self, **settings: Any) -> Rig:
        """
        A registry that knows a kernel of each sort.
        """
        return Rig(Settings(**settings), IPYKERNEL, OTHER)

    def info(self, rig: Rig, name: str = "python3") -> dict[str, Any]:
        """
        Start a kernel, and return what is in its connection file.
        """
        kernel = self.successResultOf(rig.kernels.start(StartRequest(name=name)))
        content: dict[str, Any] = json.loads(rig.runtime.files[kernel.kernel_id])
        return content

    def refusal(self, rig: Rig, name: str = "python3") -> str:
        """
        Why a kernel is not started.
        """
        starting = rig.kernels.start(StartRequest(name=name))
        reason = str(self.failureResultOf(starting, KernelStartFailed).value)
        self.assertEqual(rig.leftovers(), NOTHING)
        return reason

    def test_sockets(self) -> None:
        """
        Each kernel has five sockets of its own, and no port.
        """
        rig = self.rig()
        infos = [self.info(rig) for _ in range(3)]
        self.assertEqual([info["ip"] for info in infos], ["/run/1", "/run/2", "/run/3"])
        for info in infos:
            self.assertEqual(info["transport"], "ipc")
            ports = [info[f"{c}_port"] for c in ("shell", "iopub", "stdin", "control", "hb")]
            self.assertEqual(ports, [1, 2, 3, 4, 5])
        self.assertEqual(rig.ports.leased, frozenset())

    def test_by_kernel(self) -> None:
        """
        A kernel that is not known for Unix sockets gets ports, in the same gateway.
        """
        rig = self.rig()
        info = self.info(rig, "other")
        self.assertEqual((info["transport"], info["ip"]), ("tcp", "127.0.0.1"))
        self.assertEqual(len(rig.ports.leased), 5)
        self.assertEqual(self.info(rig)["transport"], "ipc")
        self.assertEqual(len(rig.ports.leased), 5)

    def test_address(self) -> None:
        """
        With an address of its own for kernels, TCP is used there, unless Unix sockets are asked
        for.
        """
        rig = self.rig(kernel_ip="127.0.0.2")
        for name in ("python3", "other"):
            info = self.info(rig, name)
            self.assertEqual((info["transport"], info["ip"]), ("tcp", "127.0.0.2"))
        info = self.info(self.rig(kernel_ip="127.0.0.2", transport="ipc"))
        self.assertEqual(info["transport"], "ipc")

    def test_signature_scheme(self) -> None:
        """
        The kernel is told how messages are signed.
        """
        info = self.info(self.rig(signature_scheme="hmac-sha512"))
        self.assertEqual(info["signature_scheme"], "hmac-sha512")

    def test_told(self) -> None:
        """
        The setting can say the same for all.
        """
        for transport in ("tcp", "ipc"):
            rig = self.rig(transport=transport)
            self.assertEqual(self.info(rig)["transport"], transport)
            self.assertEqual(self.info(rig, "other")["transport"], transport)

    def test_next_process(self) -> None:
        """
        Another process has the same sockets, after those of the last have been removed. At the end
        of the kernel they are gone.
        """
        rig = self.rig(restart_limit=1)
        info = self.info(rig)
        (kernel,) = rig.kernels.list()
        for _ in range(2):
            rig.runtime.listening.clear()
            rig.process.end()
            rig.pass_time(0)
            if rig.runtime.listening:
                self.assertEqual(json.loads(rig.runtime.files[kernel.kernel_id]), info)
        self.assertEqual(rig.leftovers(), NOTHING)
        self.assertEqual(len(rig.launcher.processes), 2)

    def test_too_long(self) -> None:
        """
        Where sockets cannot be, there are ports; this is said once.
        """
        rig = Rig(None, IPYKERNEL, OTHER, runtime=LongRuntime())
        with capturedLogs() as logged:
            self.info_transport(rig, "tcp")
            self.info_transport(rig, "tcp")
        said = [formatEvent(event) for event in logged if "Unix" in formatEvent(event)]
        self.assertEqual(len(said), 1)
        self.assertIn("JUPYTER_RUNTIME_DIR", said[0])

    def info_transport(self, rig: Rig, expected: str) -> None:
        """
        Start a kernel, and see how it is reached.
        """
        kernel = self.successResultOf(rig.kernels.start(StartRequest()))
        connection = rig.relay.opened[kernel.kernel_id].connection
        assert connection is not None
        self.assertEqual(connection.transport, expected)

    def test_too_long_and_told(self) -> None:
        """
        Unless it must be sockets; then the kernel is refused, with what can be done.
        """
        rig = Rig(Settings(transport="ipc"), IPYKERNEL, OTHER, runtime=LongRuntime())
        reason = self.refusal(rig)
        self.assertIn("107 bytes (/very-long/", reason)
        self.assertIn("JUPYTER_RUNTIME_DIR", reason)
        self.assertIn("--transport=tcp", reason)

    def test_encryption(self) -> None:
        """
        Keys are only where they are wanted and understood; and no two kernels have the same.
        """
        for wanted, name, expected in (
            ("disabled", "python3", False),
            ("auto", "python3", True),
            ("auto", "other", False),
            ("required", "python3", True),
        ):
            rig = self.rig(transport_encryption=wanted)
            keys = [self.info(rig, name).get("curve_secretkey") for _ in range(2)]
            self.assertEqual(len({*keys} - {None}), 2 if expected else 0, (wanted, name))

    def test_encryption_after_a_restart(self) -> None:
        """
        A kernel keeps its keys; they are neither in its environment nor in its command line.
        """
        rig = self.rig(transport_encryption="required")
        info = self.info(rig)
        (kernel,) = rig.kernels.list()
        rig.process.end()
        rig.pass_time(0)
        self.assertEqual(json.loads(rig.runtime.files[kernel.kernel_id]), info)
        shown = str([rig.process.argv, rig.process.env])
        for name in ("curve_secretkey", "curve_publickey", "key"):
            self.assertNotIn(info[name], shown)

    def test_encryption_refused(self) -> None:
        """
        A kernel that must be encrypted and does not know how is not started.
        """
        rig = self.rig(transport_encryption="required")
        self.assertIn("kernelspec other", self.refusal(rig, "other"))
        self.assertEqual(rig.launcher.processes, [])

    def test_prespawn_refused(self) -> None:
        """
        Nor can it be kept spare; the gateway says so when it starts.
        """
        rig = Rig(Settings(transport_encryption="required", prespawn={"other": 1}), OTHER)
        failure = self.failureResultOf(rig.kernels.prespawn(), ConfigurationError)
        self.assertIn("kernelspec other", str(failure.value))

    def test_spec_unchanged(self) -> None:
        """
        The decision is each kernel's own: a kernelspec that changes is followed by the next.
        """
        rig = self.rig()
        self.assertEqual(self.info(rig)["transport"], "ipc")
        changed = attrs.evolve(IPYKERNEL, metadata={"supported_transports": ["tcp"]})
        rig.kernels._specs.specs["python3"] = changed  # type: ignore[attr-defined]
        self.assertEqual(self.info(rig)["transport"], "tcp")
