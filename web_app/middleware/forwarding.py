"""Who asks, and how they came here, when there are proxies in between.

Each proxy adds the address it was asked from to the end of `X-Forwarded-For`; whatever stands
before that, the client may have made up. So the client is the entry which the farthest proxy of
ours has added, counted from the end, and nothing else in these headers is believed.
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

# What one household or one machine is given, which may use any address in it.
_IPV6_CLIENT_BITS = 64


def trust_proxies(app: Flask, count: int) -> None:
    """Believe exactly this many proxies of ours in front of the application."""
    if count:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app,
            x_for=count,
            # Proxies replace this one, rather than to add to it.
            x_proto=1,
            # A load balancer passes these on as the client has sent them.
            x_host=0,
            x_port=0,
            x_prefix=0,
        )


@lru_cache(maxsize=1024)
def client_network(address: str | None) -> str:
    """The client to whom an address belongs: itself, or its /64 where it is an IPv6 one."""
    try:
        client = ip_address(address or "")
    except ValueError:
        try:
            # Some load balancers can be told to add the port.
            client = ip_address(urlsplit(f"//{address}").hostname or "")
        except ValueError:
            return "unknown"
    if isinstance(client, IPv6Address):
        client = client.ipv4_mapped or client
    if isinstance(client, IPv6Address):
        return str(ip_network((client.packed, _IPV6_CLIENT_BITS), strict=False))
    return str(client)
