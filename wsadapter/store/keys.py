"""Every key in Redis. Nothing else spells one: the scripts are given them.

With ``{p}`` for the prefix, whose hash tag keeps them all in one slot of a cluster:

| key                      | type   | member or field        | score or value                    |
|--------------------------|--------|------------------------|-----------------------------------|
| ``{p}:nodes``            | zset   | lease                  | its end, TIME in ms; 0: given up  |
| ``{p}:counts``           | hash   | lease                  | its connections                   |
| ``{p}:users``            | zset   | user id                | 0; read in the order of the bytes |
| ``{p}:clients``          | zset   | user, client id, lease | 0; read in the order of the bytes |
| ``{p}:node:<lease>``     | hash   | client id              | user, serial, the rest as JSON    |
| ``{p}:user:<user>``      | hash   | lease                  | that user's connections there     |
| ``{p}:client:<id>``      | string |                        | the lease that holds this id       |
| ``{p}:group:<group>``    | zset   | user, client id, lease | 0; read in the order of the bytes |
| ``{p}:group-counts:<…>`` | hash   | lease                  | members of the group there        |
| ``{p}:members:<lease>``  | hash   | client id, group       | user, serial, announced, info     |
| ``{p}:leaving``          | zset   | user, or user, group   | since when, ms: not yet announced |
| ``{p}:arriving``         | zset   | user                   | since when, ms: may have been here|
| ``{p}:reaped``           | zset   | lease                  | when it was found to be over, ms  |
| ``{p}:forgotten``        | string |                        | memory was lost; a lease's time   |
| ``{p}:sequence:<group>`` | string |                        | the last number; kept for a week  |

No key of connections expires by itself: each goes with the last connection in it, and what hangs
on a lease that has ended is reaped. ``nodes`` alone decides what is alive, so nothing is wrong
meanwhile. ``leaving``, ``arriving`` and ``reaped`` are forgotten after an hour in which nobody
looks after them. A sequence expires a week after its last number. One that is not there begins at
Redis TIME in microseconds, which is beyond every number that it has had.

The parts of a member of ``clients`` and of a value in a node's hash stand between bytes that no
UTF-8 text contains, so any text may be a user id. The first two parts of a member of ``clients``
are the position of a connection in the order of all; those of a group's are the same.
"""

from __future__ import annotations

SEPARATOR = b"\xff"
ANONYMOUS = b"\xfe"  # stands for the user of a connection that has none


class Keys:
    def __init__(self, prefix: str) -> None:
        self.nodes = f"{prefix}:nodes"
        self.counts = f"{prefix}:counts"
        self.users = f"{prefix}:users"
        self.clients = f"{prefix}:clients"
        self._node = f"{prefix}:node:"
        self._user = f"{prefix}:user:"
        self._client = f"{prefix}:client:"
        self._sequence = f"{prefix}:sequence:"
        self.leaving = f"{prefix}:leaving"
        self.arriving = f"{prefix}:arriving"
        self.reaped = f"{prefix}:reaped"
        self.forgotten = f"{prefix}:forgotten"
        self._group = f"{prefix}:group:"
        self._group_counts = f"{prefix}:group-counts:"
        self._members = f"{prefix}:members:"

    def for_scripts(self) -> tuple[str, ...]:
        """KEYS of every script, in the order of prelude.lua; those that end in ``:`` go on."""
        return (
            self.nodes,
            self.counts,
            self.users,
            self.clients,
            self._node,
            self._user,
            self._client,
            self._sequence,
            self.leaving,
            self.arriving,
            self.reaped,
            self.forgotten,
            self._group,
            self._group_counts,
            self._members,
        )

    def node(self, lease: str) -> str:
        return self._node + lease

    def user(self, user_id: str) -> str:
        return self._user + user_id

    def client(self, client_id: str) -> str:
        return self._client + client_id

    def sequence(self, group: str) -> str:
        return self._sequence + group

    def group(self, group: str) -> str:
        return self._group + group

    def group_counts(self, group: str) -> str:
        return self._group_counts + group

    def members(self, lease: str) -> str:
        return self._members + lease


def position(user_id: str | None, client_id: str) -> bytes:
    """Where a connection stands in the order of all; the same wherever its id is held."""
    return user_part(user_id) + SEPARATOR + client_id.encode()


def group_part(group: str) -> bytes:
    """Any text, halves of surrogate pairs included."""
    return group.encode("utf-8", "surrogatepass")


def group_of(part: bytes) -> str:
    """The text that `group_part` was given."""
    return part.decode("utf-8", "surrogatepass")


def user_part(user_id: str | None) -> bytes:
    return ANONYMOUS if user_id is None else user_id.encode()


def positions_of(user_id: str | None) -> tuple[bytes, bytes]:
    """The bounds of a user's connections, or of all, as ZRANGEBYLEX reads them."""
    if user_id is None:
        return b"-", b"+"
    first = user_id.encode() + SEPARATOR
    return b"[" + first, b"(" + first + SEPARATOR


def beyond(place: bytes) -> bytes:
    """The lower bound that leaves out a position and all before it."""
    return b"(" + place + SEPARATOR + SEPARATOR
