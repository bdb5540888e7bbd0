"""For your tests: what a block of code sent, with no Redis and no connection.

from wsadapter.testing import capture_sent

with capture_sent() as sent:
    self.client.post("/orders/", ...)
assert sent[0].helper == "send_to_user"
assert sent[0].data == {"type": "order.paid", "id": 7}
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from wsadapter import broadcasting, bulks
from wsadapter.broadcasting import CommitHook, Publication, Receipt
from wsadapter.groups import user_id
from wsadapter.wire.lanes import Priority
from wsadapter.wire.orders import Kick, Push
from wsadapter.wire.payload import Frame


@dataclass(frozen=True)
class Sent:
    """One recorded send.

    Attributes:
        helper: the name of the helper, without the ``a`` of the twin: ``"send_to_user"``.
        target: user ids as text (a tuple), a client id, a group, or None for `broadcast`.
        data: what the helper was given.
        frame: what browsers would have received, in the default view.
        sequence: whether they would have received a place in the sequence of the group as well,
            which the frame lacks.
    """

    helper: str
    target: Any
    data: Any
    frame: Frame
    exclude: frozenset[str]
    priority: Priority
    authenticated_only: bool
    sequence: bool = False

    @property
    def json(self) -> Any:
        """The frame as a browser would parse it."""
        return msgspec.json.decode(self.frame)


@dataclass(frozen=True)
class Disconnected:
    """One recorded call of `disconnect_user` or `disconnect_client`.

    Attributes:
        target: a user id as text, or a client id.
    """

    helper: str
    target: str
    code: int
    reason: str


class SentList(list[Sent]):
    """What was sent, in order, with views on it.

    Attributes:
        disconnected: the connections that were to be closed, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disconnected: list[Disconnected] = []

    def to_user(self, user: Any) -> list[Sent]:
        """What was sent to a user by name; broadcasts are not among it."""
        wanted = user_id(user)
        return [
            sent
            for sent in self
            if sent.helper in ("send_to_user", "send_to_users") and wanted in sent.target
        ]

    def to_group(self, group: str) -> list[Sent]:
        """What was sent to a group."""
        return [s for s in self if s.helper == "send_to_group" and s.target == group]

    def to_client(self, client_id: str) -> list[Sent]:
        """What was sent to one connection."""
        return [s for s in self if s.helper == "send_to_client" and s.target == client_id]

    def broadcasts(self) -> list[Sent]:
        """What was sent to everybody."""
        return [s for s in self if s.helper == "broadcast"]


class _Recorder:
    def __init__(self, sent: SentList) -> None:
        self._sent = sent
        self._held: list[CommitHook] = []

    def take(self, publication: Publication) -> Receipt:
        self._sent.extend(_recorded(publication))
        online = True if publication.client_id is not None else None
        return Receipt(processes=1, online=online)

    def take_kick(self, helper: str, target: str, kick: Kick) -> int:
        self._sent.disconnected.append(Disconnected(helper, target, kick.code, kick.reason))
        return 1

    def hold(self, hook: CommitHook) -> None:
        self._held.append(hook)

    def take_held(self) -> None:
        """Take what waits for a commit that is still to come."""
        for hook in self._held:
            if hook.receipt is None and hook.waits:
                hook.receipt = self.take(hook.publication)


@contextmanager
def capture_sent() -> Iterator[SentList]:
    """Record everything that the helpers send inside the block; nothing leaves.

    Sends with ``on_commit`` count when their transaction commits, and at the end of the block
    when it is still open, as it is inside a ``TestCase``. What was rolled back does not count.
    What is sent inside of a `bulk` counts at its end; one around this block has no part in it.
    Arguments are checked and data is encoded as always.
    """
    sent = SentList()
    recorder = _Recorder(sent)
    broadcasting.recorders.append(recorder)
    try:
        with bulks.left():
            yield sent
        recorder.take_held()
    finally:
        broadcasting.recorders.remove(recorder)


def _recorded(publication: Publication) -> Iterator[Sent]:
    post = publication.posts[0] if publication.posts else None
    if post is not None and isinstance(order := post.order, Push):
        yield Sent(
            helper=publication.helper,
            target=publication.target,
            data=publication.data,
            frame=order.frame,
            exclude=order.exclude,
            priority=order.priority,
            authenticated_only=order.authenticated_only,
            sequence=post.sequence,
        )
