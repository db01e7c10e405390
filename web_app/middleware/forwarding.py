"""Find the client's address and scheme behind trusted proxies.

Each proxy appends the address of its client to `X-Forwarded-For`. The entries before those of our
proxies come from the client and can be forged. So the client's address is the entry that the
outermost trusted proxy appended, counted from the end.
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

# One household or machine has a /64 network and can use every address in it.
_IPV6_CLIENT_BITS = 64


def trust_proxies(app: Flask, count: int) -> None:
    """Trust exactly this many proxies in front of the application."""
    if count:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app,
            x_for=count,
            # Proxies replace X-Forwarded-Proto instead of appending to it.
            x_proto=1,
            # The load balancer forwards these unmodified, so the client controls them.
            x_host=0,
            x_port=0,
            x_prefix=0,
        )


@lru_cache(maxsize=1024)
def client_network(address: str | None) -> str:
    """Return the network that counts as one client: an IPv4 address or an IPv6 /64."""
    try:
        client = ip_address(address or "")
    except ValueError:
        try:
            # Some load balancers can be configured to append the port.
            client = ip_address(urlsplit(f"//{address}").hostname or "")
        except ValueError:
            return "unknown"
    if isinstance(client, IPv6Address):
        client = client.ipv4_mapped or client
    if isinstance(client, IPv6Address):
        return str(ip_network((client.packed, _IPV6_CLIENT_BITS), strict=False))
    return str(client)
