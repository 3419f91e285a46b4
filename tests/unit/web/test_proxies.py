"""
What proxies say of clients.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from kgd.web.proxies import client_address, is_secure


def headers(**fields: str | list[str]) -> Headers:
    """
    :param fields: With underscores for dashes.
    """
    return Headers(
        {
            name.replace("_", "-"): [value] if isinstance(value, str) else value
            for name, value in fields.items()
        }
    )


class ClientAddressTests(SynchronousTestCase):
    """
    Where a client is.
    """

    def test_addresses(self) -> None:
        """
        X-Real-Ip, or what the nearest proxy has added to X-Forwarded-For.
        """
        for fields, expected in (
            ({"X_Real_Ip": "1.2.3.4"}, "1.2.3.4"),
            ({"X_Forwarded_For": "6.6.6.6, 1.2.3.4"}, "1.2.3.4"),
            ({"X_Forwarded_For": ["6.6.6.6", "7.7.7.7,1.2.3.4 "]}, "1.2.3.4"),
            ({"X_Real_Ip": "1.2.3.4", "X_Forwarded_For": "5.6.7.8"}, "1.2.3.4"),
            ({"X_Real_Ip": "nonsense", "X_Forwarded_For": "1.2.3.4"}, "1.2.3.4"),
        ):
            self.assertEqual(client_address(headers(**fields)), IPv4Address("TCP", expected, 0))
        self.assertEqual(
            client_address(headers(X_Real_Ip="2001:DB8::1")), IPv6Address("TCP", "2001:db8::1", 0)
        )

    def test_nothing(self) -> None:
        """
        Without a header, and with one that holds no address, nothing is known.
        """
        for value in ("", "unknown", "1.2.3.4:80", "1.2.3.4, ", "\n1.2.3.4\x1b[2J"):
            self.assertIsNone(client_address(headers(X_Forwarded_For=value)), value)
        self.assertIsNone(client_address(Headers()))
        not_utf8 = Headers({b"X-Forwarded-For": [b"\xff"], b"X-Forwarded-Proto": [b"\xff"]})
        self.assertIsNone(client_address(not_utf8))
        self.assertIsNone(is_secure(not_utf8))


class IsSecureTests(SynchronousTestCase):
    """
    How a client comes.
    """

    def test_schemes(self) -> None:
        """
        X-Scheme, or the last of X-Forwarded-Proto; only http and https are known.
        """
        for fields, expected in (
            ({"X_Scheme": "https"}, True),
            ({"X_Forwarded_Proto": "HTTPS"}, True),
            ({"X_Forwarded_Proto": "https, http"}, False),
            ({"X_Scheme": "http", "X_Forwarded_Proto": "https"}, False),
            ({"X_Scheme": "gopher", "X_Forwarded_Proto": "https"}, True),
            ({"X_Forwarded_Proto": "gopher"}, None),
            ({}, None),
        ):
            self.assertEqual(is_secure(headers(**fields)), expected, fields)
