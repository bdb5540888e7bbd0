"""Pushes that leave in one piece, joined once for all connections that get the same ones."""

from __future__ import annotations

from wsadapter.wire.orders import Push

#: In bytes. More is written in pieces, between which the transport may ask to wait.
MAX_JOINED_SIZE = 64 * 1024

#: How many successors a link remembers; more than a push has views, as a rule.
MAX_SUCCESSORS = 16


class Joined:
    """Pushes that leave together, in order: a link that knows the links before it.

        nothing = Joined.nothing()
        nothing.then(a).then(b) is nothing.then(a).then(b)

    Whoever appends the same push to the same chain gets the same chain, and its bytes are made
    when they are first asked for. Few successors are remembered, the last one within easy reach:
    a push is handed to all connections one after the other, to each in its view.
    """

    __slots__ = ("_before", "_bytes", "_successor", "_successors", "count", "push", "size")

    def __init__(self, before: Joined | None, push: Push | None) -> None:
        self.push = push
        self.count: int = 0 if before is None else before.count + 1
        #: In bytes, of the payloads.
        self.size: int = 0 if before is None or push is None else before.size + push.size
        self._before = before
        self._successor: Joined | None = None
        #: With more than one: all that are remembered, by the identity of their push.
        self._successors: dict[int, Joined] | None = None
        self._bytes: dict[int, bytes] = {}

    @classmethod
    def nothing(cls) -> Joined:
        """The beginning of a chain."""
        return cls(None, None)

    def then(self, push: Push) -> Joined:
        """This and a push after it."""
        successor = self._successor
        if successor is None:
            successor = self._successor = Joined(self, push)
        elif successor.push is not push:
            successor = self._successor = self._another(push, successor)
        return successor

    def _another(self, push: Push, last: Joined) -> Joined:
        """The successor for a push that is not the last one's."""
        successors = self._successors
        if successors is None:
            successors = self._successors = {id(last.push): last}
        found = successors.get(id(push))
        if found is None:
            if len(successors) == MAX_SUCCESSORS:
                successors.clear()  # so many are not views of one push: they are for few each
            found = successors[id(push)] = Joined(self, push)
        return found

    def pushes(self) -> list[Push]:
        """What it consists of, oldest first.

        Whoever asks has the whole chain: its links forget their successors, so that it is gone
        with the last who has it, and not when the garbage collector comes.
        """
        found = []
        link: Joined | None = self
        while link is not None:
            link._successor = None
            link._successors = None
            if link.push is not None:
                found.append(link.push)
            link = link._before
        return found[::-1]

    def to_bytes(self, level: int) -> bytes:
        """The frames, one after the other.

        Args:
            level: zlib's for connections that take compressed frames; 0 for all others.
        """
        joined = self._bytes.get(level)
        if joined is None:
            frames = [push.to_bytes(level) for push in self.pushes()]
            joined = self._bytes[level] = frames[0] if len(frames) == 1 else b"".join(frames)
        return joined
