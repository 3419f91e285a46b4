"""
TLS for the gateway's ports: versions, ciphers, and certificates that can be reloaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from kgd.errors import ConfigurationError, describe_read_error

MIN_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
# The ciphers of TLS 1.2 with forward secrecy and authentication; all of TLS 1.3's have both.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
CIPHERS_WITH_DH = CIPHERS + b":DHE+AESGCM:DHE+CHACHA20"


@attrs.frozen(kw_only=True)
class TLSFiles:
    """
    Paths of the PEM files that a TLS context is made of.

    :ivar certificate: The certificate, followed by intermediate ones.
    :ivar key: Its private key.
    :ivar chain: Further intermediate certificates.
    :ivar client_ca: The authority that signs clients' certificates; empty if clients need none.
    :ivar dh_parameters: For older clients without elliptic curves.
    :ivar minimum: A key of :py:data:`MIN_VERSIONS`.
    """

    certificate: str
    key: str
    chain: str = ""
    client_ca: str = ""
    dh_parameters: str = ""
    minimum: str = "1.2"


def make_context(files: TLSFiles) -> SSL.Context:
    """
    :raises kgd.errors.ConfigurationError: when a file is missing or wrong; it names the file.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(MIN_VERSIONS[files.minimum])
    context.set_options(
        SSL.OP_CIPHER_SERVER_PREFERENCE
        | SSL.OP_NO_COMPRESSION
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_NO_TICKET
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(CIPHERS_WITH_DH if files.dh_parameters else CIPHERS)
    certificate, *others = _read_certificates(files.certificate)
    if files.chain:
        others += _read_certificates(files.chain)
    with _openssl_errors(f"the certificate in {files.certificate}, or one that goes with it,"):
        context.use_certificate(certificate)
        for other in others:
            context.add_extra_chain_cert(other)
    key = _read_key(files.key)
    with _openssl_errors(f"the key in {files.key} for the certificate in {files.certificate}"):
        context.use_privatekey(key)
        context.check_privatekey()
    if files.client_ca:
        _read_certificates(files.client_ca)
        with _openssl_errors(f"what is in {files.client_ca}"):
            context.load_verify_locations(files.client_ca)
            # So that clients with several certificates know which one to present.
            context.load_client_ca(os.fsencode(files.client_ca))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    if files.dh_parameters:
        _read_file(files.dh_parameters)
        with _openssl_errors(f"as Diffie-Hellman parameters, what is in {files.dh_parameters}"):
            context.load_tmp_dh(files.dh_parameters)
    return context


@contextmanager
def _openssl_errors(what: str) -> Iterator[None]:
    """
    Turn an error of OpenSSL's into one that names the file and the reason.
    """
    try:
        yield
    except SSL.Error as error:
        reason = error.args[0][-1][-1] if error.args and error.args[0] else "unknown reason"
        raise ConfigurationError(f"OpenSSL rejects {what}: {reason}") from None


def _read_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"TLS needs {path}, which {describe_read_error(error)}") from None


def _read_certificates(path: str) -> list[x509.Certificate]:
    """
    :return: The certificates in a file, at least one.
    """
    try:
        return x509.load_pem_x509_certificates(_read_file(path))
    except ValueError:
        raise ConfigurationError(f"{path} holds no certificate in PEM") from None


def _read_key(path: str) -> Any:
    content = _read_file(path)
    try:
        return serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigurationError(
            f"the key in {path} has a passphrase, which the gateway cannot ask for; remove it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} holds no private key in PEM") from None


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """
    Makes the TLS side of each connection, from the files as they were last read.

    :raises kgd.errors.ConfigurationError: as :py:func:`make_context`.
    """

    def __init__(self, files: TLSFiles) -> None:
        self.files = files
        self._context = make_context(files)

    def reload(self) -> None:
        """
        Read the files again, for new connections.

        :raises kgd.errors.ConfigurationError: as :py:func:`make_context`; then nothing changes.
        """
        self._context = make_context(self.files)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)
