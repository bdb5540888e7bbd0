"""Who may break things on purpose: the people at this very machine, in a supervised demo."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings

REFUSAL = "Only for a browser on this machine, and only under scripts/demo."


def may_break(address: str) -> bool:
    """Whether a request from this address may kill a server process or stop Redis."""
    return settings.DEBUG and settings.SUPERVISED and _is_loopback(address)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:  # a Unix socket has no address
        return False
