"""
Where the token comes from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.auth.token import TOKEN_CREDENTIAL, AuthToken, with_token_credential
from kgd.errors import ConfigurationError
from kgd.settings import Settings


class AuthTokenTests(SynchronousTestCase):
    """
    Reading it, and reading it again.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.file = self.home / "token"
        self.file.write_text("from-file\n")

    def token(self, environ: dict[str, str] | None = None, **settings: Any) -> AuthToken:
        """
        A token that has been read.
        """
        token = AuthToken(Settings(**settings), environ)
        token.load()
        return token

    def refused(self, environ: dict[str, str] | None = None, **settings: Any) -> str:
        """
        :return: Why it cannot be read.
        """
        error = self.assertRaises(ConfigurationError, self.token, environ, **settings)
        return str(error)

    def test_sources(self) -> None:
        """
        From the settings, a file, a variable or a credential; without white space around it.
        """
        environ = {"NAME": " from-variable ", "CREDENTIALS_DIRECTORY": str(self.home)}
        for settings, expected in (
            ({"auth_token": "itself"}, b"itself"),
            ({"auth_token": "\u00fcber"}, "\u00fcber".encode()),
            ({"auth_token_file": str(self.file)}, b"from-file"),
            ({"auth_token_env": "NAME"}, b"from-variable"),
            ({"auth_token_credential": "token"}, b"from-file"),
        ):
            self.assertTrue(Settings(**settings).needs_token)  # type: ignore[arg-type]
            token = self.token(environ, **settings)
            self.assertTrue(token.is_needed)
            self.assertTrue(token.identify(expected))
            for wrong in (None, b"", expected[:-1], expected + b"x"):
                self.assertFalse(token.identify(wrong))

    def test_none(self) -> None:
        """
        Without any, everybody is let in.
        """
        token = self.token()
        self.assertFalse(token.is_needed)
        self.assertTrue(token.identify(None))

    def test_wrong(self) -> None:
        """
        What is named and holds no token is an error that names it, and never its content.
        """
        self.assertIn("cannot be read", self.refused(auth_token_file=str(self.home / "no")))
        self.assertIn("cannot be read", self.refused(auth_token_file=str(self.home)))
        self.assertIn("NAME", self.refused(auth_token_env="NAME"))
        self.assertIn("NAME", self.refused({"NAME": " "}, auth_token_env="NAME"))
        self.assertIn("LoadCredential=c:", self.refused(auth_token_credential="c"))
        credentials = {"CREDENTIALS_DIRECTORY": str(self.home)}
        self.assertIn("cannot be read", self.refused(credentials, auth_token_credential="c"))
        for name in ("..", "../token", "/etc/passwd"):
            reason = self.refused(credentials, auth_token_credential=name)
            self.assertIn("is not the name of a credential", reason)
        for content in (
            b"",
            b" \n",
            b"s3cret\nand more",
            b"s3cret\xff",
            b"s3cret\0",
            b"s" * 70_000,
        ):
            self.file.write_bytes(content)
            reason = self.refused(auth_token_file=str(self.file))
            self.assertIn(str(self.file), reason)
            self.assertNotIn("s3cret", reason)

    def test_two(self) -> None:
        """
        Two places cannot both be right.
        """
        reason = self.refused({"N": "x"}, auth_token="s3cret", auth_token_env="N")
        self.assertIn("--auth-token and --auth-token-env", reason)
        self.assertNotIn("s3cret", reason)

    def test_change(self) -> None:
        """
        Another token is told to whoever wants to know; the same one, and a broken file, are not.
        Whoever keeps secrets out of logs knows it before.
        """
        told: list[bool] = []
        secrets: list[str] = []
        token = AuthToken(Settings(auth_token_file=str(self.file)), None, secrets.append)
        token.on_change(lambda: told.append(bool(token.identify(b"other")) and "other" in secrets))
        self.assertFalse(token.load())
        self.assertFalse(token.load())
        self.file.write_text("")
        self.assertRaises(ConfigurationError, token.load)
        self.assertTrue(token.identify(b"from-file"))
        self.assertEqual(told, [])
        self.file.write_text("other")
        self.assertTrue(token.load())
        self.assertEqual(told, [True])
        self.assertEqual(list(dict.fromkeys(secrets)), ["from-file", "other"])
        self.assertFalse(token.identify(b"from-file"))

    def test_credential_of_this_name(self) -> None:
        """
        A credential that is called as ours is taken when nothing else is said.
        """
        environ = {"CREDENTIALS_DIRECTORY": str(self.home)}
        self.assertFalse(with_token_credential(Settings(), environ).needs_token)
        (self.home / TOKEN_CREDENTIAL).write_text("x")
        self.assertFalse(with_token_credential(Settings(), {}).needs_token)
        self.assertEqual(
            with_token_credential(Settings(), environ).auth_token_credential, TOKEN_CREDENTIAL
        )
        given = Settings(auth_token="y")
        self.assertIs(with_token_credential(given, environ), given)
