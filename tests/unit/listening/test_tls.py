"""
TLS in memory: versions, ciphers, certificates.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError
from kgd.listening.tls import ServerTLS, TLSFiles, make_context


def handshake(server: SSL.Connection, client: SSL.Connection) -> None:
    """
    Pass bytes to and fro until both are content.

    :raises SSL.Error: when one is not.
    """
    server.set_accept_state()
    client.set_connect_state()
    waiting = {server, client}
    for _ in range(10):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
                waiting.discard(one)
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(100_000))
    # With TLS 1.3 the client learns only afterwards that its certificate will not do.
    for each in (server, client):
        with contextlib.suppress(SSL.WantReadError):
            each.recv(1)
    assert not waiting


class TLSTests(SynchronousTestCase):
    """
    Contexts for a server.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(self.home / "ca.pem"))
        self.issue("server")

    def issue(self, name: str) -> trustme.LeafCert:
        """
        Write a key and a certificate, in two files and in one.
        """
        leaf = self.ca.issue_cert("localhost", common_name=name)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        (self.home / f"{name}.crt").write_bytes(chain)
        (self.home / f"{name}.key").write_bytes(leaf.private_key_pem.bytes())
        (self.home / f"{name}.pem").write_bytes(chain + leaf.private_key_pem.bytes())
        return leaf

    def files(
        self, certificate: str = "server.crt", key: str = "server.key", **more: str
    ) -> TLSFiles:
        """
        Files of these names.
        """
        paths = {name: value if name == "minimum" else str(self.home / value)
                 for name, value in more.items()}  # fmt: skip
        return TLSFiles(certificate=str(self.home / certificate), key=str(self.home / key), **paths)

    def connect(self, tls: ServerTLS, client: SSL.Context | None = None) -> SSL.Connection:
        """
        :return: The client's side of a connection.
        :raises SSL.Error: when there is none.
        """
        if client is None:
            client = SSL.Context(SSL.TLS_CLIENT_METHOD)
        connection = SSL.Connection(client, None)
        handshake(tls.serverConnectionForTLS(None), connection)
        return connection

    def client(self, ciphers: bytes = b"ALL:@SECLEVEL=0", version: int = 0) -> SSL.Context:
        """
        A client that takes everything, or one version only.
        """
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version or SSL.TLS1_VERSION)
        context.set_max_proto_version(version)
        context.set_cipher_list(ciphers)
        return context

    def test_versions(self) -> None:
        """
        TLS 1.2 and 1.3, or 1.3 only; nothing older.
        """
        for minimum, version, works in (
            ("1.2", SSL.TLS1_VERSION, False),
            ("1.2", SSL.TLS1_1_VERSION, False),
            ("1.2", SSL.TLS1_2_VERSION, True),
            ("1.2", SSL.TLS1_3_VERSION, True),
            ("1.3", SSL.TLS1_2_VERSION, False),
            ("1.3", SSL.TLS1_3_VERSION, True),
        ):
            tls = ServerTLS(self.files(minimum=minimum))
            if works:
                self.connect(tls, self.client(version=version))
            else:
                self.assertRaises(SSL.Error, self.connect, tls, self.client(version=version))

    def test_ciphers(self) -> None:
        """
        Only those with forward secrecy that authenticate what they encrypt.
        """
        tls = ServerTLS(self.files())
        version = SSL.TLS1_2_VERSION
        for cipher in (b"ECDHE+AESGCM", b"ECDHE+CHACHA20"):
            self.connect(tls, self.client(cipher + b":@SECLEVEL=0", version))
        for cipher in (
            b"kRSA",
            b"AES+SHA1",
            b"AES+SHA256",
            b"AES+SHA384",
            b"aNULL",
            b"eNULL",
            b"PSK",
        ):
            client = self.client(cipher + b":@SECLEVEL=0", version)
            self.assertRaises(SSL.Error, self.connect, tls, client)

    def test_one_file(self) -> None:
        """
        Certificate and key may be in one file, in any order.
        """
        self.connect(ServerTLS(self.files("server.pem", "server.pem")))

    def test_chain(self) -> None:
        """
        The certificates that lead to the authority are sent, from the same file or another.
        """
        between = self.ca.create_child_ca()
        leaf = between.issue_cert("localhost")
        first, *others = leaf.cert_chain_pems
        (self.home / "leaf.crt").write_bytes(first.bytes())
        (self.home / "chain.crt").write_bytes(b"".join(blob.bytes() for blob in others))
        (self.home / "leaf.key").write_bytes(leaf.private_key_pem.bytes())
        connection = self.connect(ServerTLS(self.files("leaf.crt", "leaf.key", chain="chain.crt")))
        chain = connection.get_peer_cert_chain()
        assert chain is not None
        self.assertEqual(len(chain), 1 + len(others))

    def test_client_certificates(self) -> None:
        """
        With an authority for clients, a certificate of its is demanded.
        """
        tls = ServerTLS(self.files(client_ca="ca.pem"))
        other = trustme.CA().issue_cert("client")
        for leaf, works in ((None, False), (other, False), (self.ca.issue_cert("client"), True)):
            for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
                client = self.client(version=version)
                if leaf is not None:
                    leaf.configure_cert(client)
                if works:
                    self.connect(tls, client)
                else:
                    self.assertRaises(SSL.Error, self.connect, tls, client)

    def test_reload(self) -> None:
        """
        Files are read again when they shall be; one that is broken changes nothing.
        """

        def served() -> str:
            certificate = self.connect(tls).get_peer_certificate()
            assert certificate is not None
            return str(certificate.get_subject().CN)

        tls = ServerTLS(self.files())
        self.issue("next")
        (self.home / "next.crt").rename(self.home / "server.crt")
        self.assertRaises(ConfigurationError, tls.reload)
        self.assertEqual(served(), "server")
        (self.home / "next.key").rename(self.home / "server.key")
        self.assertEqual(served(), "server")
        tls.reload()
        self.assertEqual(served(), "next")

    def weak(self) -> None:
        """
        Write a certificate with a key that anybody could find out.
        """
        key = rsa.generate_private_key(65537, 1024)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        ).sign(key, hashes.SHA256())
        (self.home / "weak.pem").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def test_errors(self) -> None:
        """
        What is wrong with a file is said with its name; nobody is asked for a passphrase.
        """
        leaf = self.issue("other")
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        (self.home / "locked.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"x"),
            )
        )
        (self.home / "junk").write_bytes(b"junk")
        self.weak()
        for files, name, word in (
            (self.files("none"), "none", "No such file"),
            (self.files("junk"), "junk", "no certificate"),
            (self.files(key="junk"), "junk", "no private key"),
            (self.files(key="server.crt"), "server.crt", "no private key"),
            (self.files(key="other.key"), "other.key", "rejects"),
            (self.files(key="locked.key"), "locked.key", "passphrase"),
            (self.files("weak.pem", "weak.pem"), "weak.pem", "too small"),
            (self.files(client_ca="junk"), "junk", "no certificate"),
            (self.files(chain="none"), "none", "No such file"),
            (self.files(dh_parameters="junk"), "junk", "Diffie-Hellman"),
        ):
            error = str(self.assertRaises(ConfigurationError, make_context, files))
            self.assertIn(str(self.home / name), error)
            self.assertIn(word, error)
