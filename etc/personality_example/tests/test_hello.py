"""
``PYTHONPATH=. trial tests.test_hello``, with kernels that are only pretended.
"""

from kgd_hello import maker
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from kgd.protocol.outputs import Failed, Outputs
from kgd.testing.personalities import PersonalityContract


class HelloTests(PersonalityContract, SynchronousTestCase):
    """
    What every personality promises, and what only this one does.
    """

    served = ("/", "/run")
    public = ("/",)

    def make_maker(self):
        """
        :return: What ``--api=hello`` names.
        """
        return maker

    def test_greeting(self):
        """
        The option is what is said.
        """
        client = self.serve(personality_options={"greeting": "Moin"})
        self.assertEqual(client.request("GET", "/").body, b"Moin! Try /run?code=6*7\n")

    def test_run(self):
        """
        What comes of code is the answer.
        """
        client = self.serve()
        self.gateway.outputs += [
            Outputs(stdout="x", result={"text/plain": "42"}),
            Outputs(error=Failed(ename="E", evalue="v")),
        ]
        answer = client.request("GET", "/run?code=6*7").json
        self.assertEqual(answer, {"printed": "x", "result": "42", "error": None})
        self.assertEqual(client.request("GET", "/run?code=no").json["error"], "E: v")
        self.assertEqual([source for _, source in self.gateway.ran], ["6*7", "no"])

    def test_bad_code(self):
        """
        Code has to be there, and not too long.
        """
        client = self.serve(personality_options={"longest-code": 3})
        for query in ("", "?code=", "?code=1234"):
            self.assertEqual(client.request("GET", f"/run{query}").code, 400)

    def test_drain(self):
        """
        Nothing new is begun, and what runs is waited for.
        """
        client = self.serve()
        self.gateway.draining.ask()
        self.assertEqual(client.request("GET", "/run?code=6*7").code, 503)
        personality = self.start()
        drained = Deferred.fromCoroutine(personality.drain())
        self.assertNoResult(drained)
        self.gateway.outputs.append(Outputs())
        self.result_of(personality.drain)
