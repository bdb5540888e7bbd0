"""Groups: any text names one; here it becomes a name that every channel layer accepts.

Channels' layers take group names of ASCII letters, digits, ``-``, ``_`` and ``.``, under 100
characters. Such names pass as they are, so that plain Channels code and wsadapter mean the
same group by ``"news"``. All other text, and all text that begins with the prefix of
wsadapter's own groups, is hashed: no two texts share a name, and no name that a browser may
choose (a room, say) can be the group of a user.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

_OWN = "wsadapter."
_SAFE = re.compile(r"[a-zA-Z\d\-_.]{1,80}", re.ASCII)


class Group(str):
    """The name of one of wsadapter's own groups; it passes `layer_name` as it is."""

    __slots__ = ()


#: The group of every connection.
EVERYONE = Group(f"{_OWN}everyone")

#: The group of every connection that takes no pushes.
SILENT = Group(f"{_OWN}silent")


def layer_name(group: str) -> str:
    """The channel layer's name for a group.

    Args:
        group: any text, or a `Group` such as `EVERYONE` and `user_group(user)`.
    """
    if isinstance(group, Group):
        return str.__str__(group)
    if not isinstance(group, str):
        raise TypeError(f"A group is named by a str, not by {group!r}.")
    if _SAFE.fullmatch(group) and not group.startswith(_OWN):
        return str.__str__(group)
    return f"{_OWN}text.{digest(group)}"


def user_group(user: Any) -> Group:
    """The group of all connections of a user.

    Args:
        user: a user instance, or its primary key (int, str, UUID, ...).

    Raises:
        ValueError: an anonymous user, or an instance that has not been saved.
    """
    return _personal("user", user_id(user))


def silent_group(user: Any) -> Group:
    """The group of those connections of a user that take no pushes: they can still be kicked.

    Raises:
        ValueError: as `user_group` does.
    """
    return _personal("silent-user", user_id(user))


def client_group(client_id: str) -> Group:
    """The group of one connection, for ids and layers that do not say where it lives."""
    return _personal("client", client_id)


def user_id(user: Any) -> str:
    """The primary key of a user as text.

    Args:
        user: a user instance, or its primary key (int, str, UUID, ...).

    Raises:
        ValueError: an anonymous user, or an instance that has not been saved.
    """
    key = user.pk if hasattr(user, "pk") else user
    if key is None or isinstance(key, bool):
        raise ValueError(
            f"{user!r} has no primary key. Give a saved user or a primary key; "
            "use send_to_client() or send_to_group() for anonymous visitors."
        )
    return str(key)


def digest(text: str) -> str:
    """A short name for any text; different texts get different names."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _personal(kind: str, id: str) -> Group:
    if _SAFE.fullmatch(id) and len(id) <= 40:
        return Group(f"{_OWN}{kind}.{id}")
    return Group(f"{_OWN}{kind}-hash.{digest(id)}")
