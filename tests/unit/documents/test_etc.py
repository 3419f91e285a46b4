"""
The files in ``etc`` say nothing that kgd does not know.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kgd.config.options import OPTIONS
from kgd.config.plugin_options import options_with
from kgd.settings import Settings
from kgd.web.access import PUBLIC_ROUTES

ETC = Path(__file__).parents[3] / "etc"
# Stopping takes at most about this long, in seconds; see kgd.gateway.service.
STOPPING = 15


def text_of(name: str) -> str:
    """
    :return: A file in ``etc``.
    """
    return (ETC / name).read_text()


class CommandTests(SynchronousTestCase):
    """
    How kgd is started.
    """

    def setUp(self) -> None:
        self.patch(os, "environ", {"JUPYTER_NO_CONFIG": "1"})

    def settings(self, arguments: list[str]) -> Settings:
        """
        :return: What these mean; they have to be options of kgd.
        """
        options = options_with([])
        options.parseOptions(arguments)
        return options.settings

    def quoted(self, text: str) -> list[str]:
        """
        :return: Options in quotes, as lists in JSON and YAML have them.
        """
        return re.findall(r'"(--[a-z][^"]*)"', text)

    def test_units(self) -> None:
        """
        systemd's units. What the command line does not say, a variable may.
        """
        os.environ["KGD_PORT"] = "9000"
        for name, listen in (
            ("kgd.service", ()),
            ("kgd-activated.service", ("systemd:domain=INET:index=0",)),
        ):
            (line,) = re.findall(r"(?m)^ExecStart=(.*)$", text_of(f"systemd/{name}"))
            settings = self.settings(shlex.split(line)[1:])
            self.assertEqual((settings.port, settings.listen), (9000, listen))

    def test_containers(self) -> None:
        """
        Images and what runs them: others can reach them, and they have a token for that.
        """
        dockerfile = text_of("docker/Dockerfile")
        (variables,) = re.findall(r"(?m)^ENV (.*)$", dockerfile)
        os.environ.update(re.findall(r"\b(KGD_\w+)=(\S+)", variables))
        for given in ("", text_of("docker/compose.yaml"), text_of("kubernetes/kgd.yaml")):
            settings = self.settings(self.quoted(given))
            self.assertEqual((settings.ip, settings.port), ("0.0.0.0", 8888))
            self.assertEqual(settings.needs_token, given != "")
        for path in re.findall(r"8888(/\w+)'", dockerfile):
            self.assertIn(path, PUBLIC_ROUTES)

    def test_proxies(self) -> None:
        """
        What the proxies' configuration says about kgd.
        """
        for name in ("nginx/kgd.conf", "caddy/Caddyfile"):
            text = text_of(name)
            said = [line for line in text.splitlines() if "kgd runs with" in line]
            settings = self.settings(re.findall(r"--[a-z][\w=/-]*", said[0]))
            self.assertEqual((settings.base_url, settings.trust_xheaders), ("/kernels", True))
            # The one that kgd believes first must not be the client's.
            self.assertRegex(text, r"X-Real-IP (\$remote_addr|\{remote_host\})")
            for mentioned in re.findall(r"--([a-z-]+)", text):
                self.assertIn(mentioned, {row.name for row in OPTIONS})

    def test_cluster(self) -> None:
        """
        The probes ask for what needs no token, and draining has the time that it may take.
        """
        text = text_of("kubernetes/kgd.yaml")
        probes = re.findall(r"Probe: \{httpGet: \{path: (\S+),", text)
        self.assertEqual(len(probes), 3)
        self.assertLessEqual({*probes}, PUBLIC_ROUTES)
        self.assertIn("kill -USR1 1", text)
        # A Service of this name would set KGD_PORT, which is not ours to read then.
        self.assertRegex(text, r"kind: Service\nmetadata:\n  name: kgd\n")
        self.assertIn("enableServiceLinks: false", text)
        settings = self.settings(self.quoted(text))
        (grace,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", text)
        self.assertGreaterEqual(int(grace), settings.drain_timeout + STOPPING)

    def test_variables(self) -> None:
        """
        Every variable that is named anywhere is one of kgd's.
        """
        known = {f"KGD_{row.name.upper().replace('-', '_')}" for row in OPTIONS}
        for folder in ("systemd", "docker", "kubernetes", "nginx", "caddy"):
            for path in (ETC / folder).iterdir():
                named = set(re.findall(r"\bKGD_[A-Z_]+\b", path.read_text()))
                self.assertLessEqual(named, known, path)
