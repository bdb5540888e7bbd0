"""The helpers that send, each with its asynchronous twin.

A call is prepared first: arguments checked, data encoded once, nothing sent. The prepared
`Publication` is then published at once or at commit, by the caller's kind of connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import msgspec
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.core.signals import setting_changed
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from wsadapter import bulks, conf, hooks
from wsadapter.close_codes import CloseCode
from wsadapter.errors import EncodeError, ReservedType
from wsadapter.event_loops import forbid_event_loop
from wsadapter.groups import (
    EVERYONE,
    SILENT,
    client_group,
    layer_name,
    silent_group,
    user_group,
    user_id,
)
from wsadapter.layers.publishing import (
    Post,
    Published,
    Publisher,
    Question,
    apublish_all,
    publish_all,
    publisher_for,
)
from wsadapter.serving import seating_loops
from wsadapter.signals import publish_failed
from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    ClientOnline,
    FindClient,
    NextStamps,
    OnlineCount,
    UserConnections,
)
from wsadapter.wire import orders
from wsadapter.wire.envelope import RESERVED_PREFIX
from wsadapter.wire.lanes import Priority
from wsadapter.wire.orders import Inspect, Kick, Order, Push
from wsadapter.wire.payload import MAX_FRAME_SIZE, Frame, encode, size_of
from wsadapter.wire.priorities import priority_of
from wsadapter.wire.stamps import Stamp, check_stampable
from wsadapter.wire.views import DEFAULT, project, views_of

logger = logging.getLogger("wsadapter.publishing")


class Receipt(msgspec.Struct, frozen=True):
    """What is known about a send once it has left.

    Attributes:
        pending: it waits for the commit of the surrounding transaction, or for the end of the
            surrounding `bulk`; what follows is then not known.
        processes: the server processes that it reached, or None where the channel layer
            cannot know. Sending to several users: the most that one of them has.
        online: whether the client was connected; only `send_to_client` knows.

    ``bool(receipt)`` is False only when ``online`` is False.
    """

    pending: bool = False
    processes: int | None = None
    online: bool | None = None

    def __bool__(self) -> bool:
        return self.online is not False


class Publication(msgspec.Struct, frozen=True):
    """A prepared send: where it goes, and what.

    Attributes:
        helper: the name of the sync helper.
        target: what the helper was given: user ids, a client id, a group, or None for all.
        data: the data as it was given, for those who record it.
        posts: what goes onto the channel layer.
        client_id: the client whose presence the receipt tells.
    """

    helper: str
    target: Any
    data: Any
    posts: tuple[Post, ...]
    client_id: str | None = None


class Recorder(Protocol):
    """Takes publications instead of the channel layer: see `wsadapter.testing`."""

    def take(self, publication: Publication) -> Receipt: ...

    def take_kick(self, helper: str, target: str, kick: Kick) -> int:
        """Take what would close connections; returns how many it says there were."""

    def hold(self, hook: CommitHook) -> None:
        """Note a send that waits for its commit."""


#: The innermost active recorder takes everything; there is none outside of tests.
recorders: list[Recorder] = []


# The helpers


def broadcast(
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
    authenticated_only: bool = False,
) -> Receipt:
    """Send to every connection.

    Args:
        data: ``str`` is a text frame as it is, ``bytes`` a binary frame as it is, everything
            else is encoded as JSON, once; where its type declares views, once in each of them.
        exclude: client ids that do not get it.
        priority: what may overtake what on its way to a browser. NORMAL leaves that to the
            setting ``PRIORITIES``, which may name the type of the message.
        on_commit: publish when the transaction of the default database, or of the database
            with this alias, commits; encode now. A roll-back publishes nothing.
        authenticated_only: only to connections of users.

    Raises:
        EncodeError: the data cannot be sent; nothing was.
        StoreUnavailable: Redis did not answer in time.
        AsyncContextError: an event loop runs in this thread; await `abroadcast`.
    """
    return _send(_to_everyone(data, exclude, priority, authenticated_only), on_commit)


async def abroadcast(
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
    authenticated_only: bool = False,
) -> Receipt:
    """The twin of `broadcast`."""
    return await _asend(_to_everyone(data, exclude, priority, authenticated_only), on_commit)


def send_to_user(
    user: Any,
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
) -> Receipt:
    """Send to all connections of a user.

    Args:
        user: a user instance or a primary key.

    The other arguments and the errors are those of `broadcast`.

    Raises:
        ValueError: an anonymous or unsaved user.
    """
    return _send(_to_users("send_to_user", [user], data, exclude, priority), on_commit)


async def asend_to_user(
    user: Any,
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
) -> Receipt:
    """The twin of `send_to_user`."""
    return await _asend(_to_users("send_to_user", [user], data, exclude, priority), on_commit)


def send_to_users(
    users: Iterable[Any],
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
) -> Receipt:
    """Send to all connections of several users: encoded once, one round trip.

    Args:
        users: user instances or primary keys.

    The other arguments and the errors are those of `send_to_user`.
    """
    return _send(_to_users("send_to_users", users, data, exclude, priority), on_commit)


async def asend_to_users(
    users: Iterable[Any],
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
) -> Receipt:
    """The twin of `send_to_users`."""
    return await _asend(_to_users("send_to_users", users, data, exclude, priority), on_commit)


def send_to_client(
    client_id: str,
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
) -> Receipt:
    """Send to one connection. The receipt's ``online`` says whether it was there.

    Args:
        client_id: from the welcome, the ``X-Client-Id`` header or `online_clients()`.

    The other arguments and the errors are those of `broadcast`.
    """
    return _send(_to_client(client_id, data, exclude, priority), on_commit)


async def asend_to_client(
    client_id: str,
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
) -> Receipt:
    """The twin of `send_to_client`."""
    return await _asend(_to_client(client_id, data, exclude, priority), on_commit)


def send_to_group(
    group: str,
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
    sequence: bool = False,
) -> Receipt:
    """Send to all connections that joined a group.

    Args:
        group: any text, as given to ``join``.
        sequence: add the fields ``sequence``, which rises by one with each message of the group
            that is sent so, and ``timestamp``, in milliseconds since the epoch: the same for all
            receivers. Both are given when the message leaves (at the commit, at the end of a
            `bulk`), for one more round trip. Of messages that are sent at the same time from
            several places, the later number may arrive first: receivers sort. After a week
            without such a message, or when Redis has lost its memory, numbers go on higher up.

    The other arguments and the errors are those of `broadcast`.

    Raises:
        EncodeError: also if there is to be a sequence and the data is no JSON object, or has one
            of the two fields.
        StoreUnavailable: also if no number was to be had; nothing was sent then. A message that
            failed after that leaves a gap in the sequence.
    """
    return _send(_to_group(group, data, exclude, priority, sequence), on_commit)


async def asend_to_group(
    group: str,
    data: Any,
    *,
    exclude: Collection[str] = (),
    priority: Priority = Priority.NORMAL,
    on_commit: bool | str = False,
    sequence: bool = False,
) -> Receipt:
    """The twin of `send_to_group`."""
    return await _asend(_to_group(group, data, exclude, priority, sequence), on_commit)


def disconnect_user(
    user: Any, code: int = CloseCode.FORCED_OUT, reason: str = "disconnected by the server"
) -> int:
    """Close all connections of a user, on whichever node they are.

    It acts at once. Inside of a `bulk`, what was collected before leaves first.

    Args:
        user: a user instance or a primary key.
        code: the close code; with 3500 to 3999 clients do not come back.

    Returns:
        The connections that the store knew on live nodes.

    Raises:
        StoreUnavailable: Redis did not answer in time.
        AsyncContextError: an event loop runs in this thread; await `adisconnect_user`.
    """
    forbid_event_loop("disconnect_user")
    target, kick = user_id(user), Kick(code, reason)
    _send_collected()
    if recorders:
        return recorders[-1].take_kick("disconnect_user", target, kick)
    known = conf.store().run(UserConnections(target))
    _publisher().publish(_kicks(target, kick))
    return known


async def adisconnect_user(
    user: Any, code: int = CloseCode.FORCED_OUT, reason: str = "disconnected by the server"
) -> int:
    """The twin of `disconnect_user`."""
    target, kick = user_id(user), Kick(code, reason)
    await _asend_collected()
    if recorders:
        return recorders[-1].take_kick("disconnect_user", target, kick)
    known = await conf.store().arun(UserConnections(target))
    await _publisher().apublish(_kicks(target, kick))
    return known


def disconnect_client(
    client_id: str, code: int = CloseCode.FORCED_OUT, reason: str = "disconnected by the server"
) -> int:
    """Close one connection, on whichever node it is.

    Returns:
        1 if the store knew it on a live node, else 0.

    The errors are those of `disconnect_user`.
    """
    forbid_event_loop("disconnect_client")
    post = _client_post(client_id, kick := Kick(code, reason))
    _send_collected()
    if recorders:
        return recorders[-1].take_kick("disconnect_client", client_id, kick)
    known = conf.store().run(FindClient(client_id))
    _publisher().publish([post])
    return int(known is not None)


async def adisconnect_client(
    client_id: str, code: int = CloseCode.FORCED_OUT, reason: str = "disconnected by the server"
) -> int:
    """The twin of `disconnect_client`."""
    post = _client_post(client_id, kick := Kick(code, reason))
    await _asend_collected()
    if recorders:
        return recorders[-1].take_kick("disconnect_client", client_id, kick)
    known = await conf.store().arun(FindClient(client_id))
    await _publisher().apublish([post])
    return int(known is not None)


def disconnect_all(code: int, reason: str) -> int:
    """Close every connection: an operator's last resort, for a command.

    Returns:
        The connections that the store knew on live nodes.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    kick = Kick(code, reason)
    known = conf.store().run(OnlineCount())
    _publisher().publish(_kicks(None, kick))
    return known


@contextmanager
def bulk() -> Iterator[None]:
    """Send everything that is sent inside of the block together, at its end: in one round trip.

        with bulk():
            for order in orders:
                send_to_user(order.user, {"type": "order.shipped", "id": order.pk})

    Order is kept, on each Redis host. Data is encoded at the call, with its errors. Receipts are
    pending: nobody knows yet how far a message goes, nor whether a client is online. More than
    `MOST_POSTS_AT_ONCE` messages or `MOST_BYTES_AT_ONCE` of frames leave in several round trips.
    On a layer that is not published on natively, they go one after the other.

    - A block that raises sends nothing of what it has collected.
    - Sends with ``on_commit`` still wait. A commit inside of the block adds them to it, to leave
      or to fail with the others; after the block they are sent at the commit.
    - In a block inside of another one the outermost sends.
    - Tasks and `asyncio.to_thread` calls that are started inside belong to the block until it
      ends; a `threading.Thread` does not.
    - `disconnect_user` and `disconnect_client` act at once. What was collected before leaves
      first.
    - The numbers of sequences are taken at the end, in one more round trip for all groups.

    Raises:
        StoreUnavailable: at the end: Redis did not answer in time. The message says how many
            messages had been handed over, none where it speaks of none; nothing is sent again.
        AsyncContextError: an event loop runs in this thread; use ``async with abulk()``.
    """
    forbid_event_loop("bulk")
    with bulks.begun() as begun:
        yield
    _publish_together(begun.end())


@asynccontextmanager
async def abulk() -> AsyncIterator[None]:
    """The twin of `bulk`: ``async with abulk(): ...``"""
    with bulks.begun() as begun:
        yield
    await _apublish_together(begun.end())


async def replace_client(client_id: str, serial: str) -> None:
    """Close the connection whose id a newcomer of the same user has taken over.

    Args:
        serial: of the connection that was replaced, and of no other: by now the newcomer may
            have been replaced as well.
    """
    kick = Kick(CloseCode.FORCED_OUT, "replaced by a newer connection", serial=serial)
    await _publisher().apublish([Post(client_group(client_id), kick)])


def end_session(session: str, user: Any = None) -> None:
    """Close the connections of one login session.

    Args:
        session: one of the session's digests, see `wsadapter.auth.session_digests`.
        user: whose session it is, where that is known: then only their connections are asked.
    """
    if recorders:
        return  # a test that logs in and out sends nothing by that
    _publisher().publish(
        _kicks(user, Kick(CloseCode.UNAUTHENTICATED, "logged out", session=session))
    )


async def tell_group(group: str, frame: Frame, exclude: Collection[str] = ()) -> None:
    """Send one of wsadapter's own messages to all that are in a group.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    push = Push(frame, exclude=frozenset(exclude))
    await _publisher().apublish([Post(layer_name(group), push)])


def inspect_clients(client_ids: Iterable[str], report_to: str) -> None:
    """Ask connections how they are doing, wherever they are: in one round trip.

    Args:
        report_to: the channel of the layer that their reports go to, as pushes.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    publish_all(_publisher(), [_client_post(id, Inspect(id, report_to)) for id in client_ids])


def _kicks(user: Any, kick: Kick) -> list[Post]:
    """For all connections of a user, or all of everybody, whether or not they take pushes."""
    groups = (EVERYONE, SILENT) if user is None else (user_group(user), silent_group(user))
    return [Post(group, kick) for group in groups]


# Preparing


def _to_everyone(
    data: Any, exclude: Collection[str], priority: Priority, authenticated_only: bool
) -> Publication:
    order = _push(data, exclude, priority, authenticated_only)
    return Publication("broadcast", None, data, (Post(EVERYONE, order),))


def _to_users(
    helper: str, users: Iterable[Any], data: Any, exclude: Collection[str], priority: Priority
) -> Publication:
    if isinstance(users, str | bytes):
        raise TypeError(f"Give a list of users, such as [{users!r}], not a {type(users).__name__}.")
    # Each user once, in the order given.
    ids = list(dict.fromkeys(user_id(user) for user in users))
    order = _push(data, exclude, priority)
    posts = tuple(Post(user_group(id), order) for id in ids)
    return Publication(helper, tuple(ids), data, posts)


def _to_client(
    client_id: str, data: Any, exclude: Collection[str], priority: Priority
) -> Publication:
    order = _push(data, exclude, priority)
    return Publication(
        "send_to_client", client_id, data, (_client_post(client_id, order),), client_id
    )


def _to_group(
    group: str, data: Any, exclude: Collection[str], priority: Priority, sequence: bool
) -> Publication:
    order = _push(data, exclude, priority)
    if sequence:
        if exclude:
            raise ValueError(
                "A sequence is the same for all receivers, so that whoever is excluded would see a "
                "gap. Send without exclude, and let pages leave out what they know."
            )
        for frame in (order.frame, *order.views.values()):
            check_stampable(data, frame)
    post = Post(layer_name(group), order, sequence=sequence)
    return Publication("send_to_group", group, data, (post,))


def _push(
    data: Any, exclude: Collection[str], priority: Priority, authenticated_only: bool = False
) -> Push:
    views = _views(data)
    frame = views.pop(DEFAULT) if views else _frame(data)
    lane = priority_of(frame, Priority(priority), conf.settings.priorities)
    return orders.push(frame, exclude, lane, authenticated_only, views)


def _views(data: Any) -> dict[str, Frame]:
    """The frame of each view that the data has, if it has any."""
    views = {view: _frame(project(data, view)) for view in views_of(data)}
    total_size = sum(map(size_of, views.values()))
    if total_size > MAX_FRAME_SIZE:
        raise EncodeError(
            f"{total_size} bytes in {len(views)} views are more than the {MAX_FRAME_SIZE} that may "
            "be sent at once. Send where to fetch it."
        )
    return views


def _client_post(client_id: str, order: Order) -> Post:
    if not isinstance(client_id, str):
        raise TypeError(f"A client id is a str, not {client_id!r}.")
    return Post(client_group(client_id), order, client_id)


class _Typed(msgspec.Struct):
    type: str = ""


_typed = msgspec.json.Decoder(_Typed)


def _frame(data: Any) -> Frame:
    frame = encode(data)
    # The substring spares almost every frame the decoding.
    if isinstance(frame, str) and (f'"{RESERVED_PREFIX}' in frame or "\\u" in frame):
        _refuse_reserved(frame)
    return frame


def _refuse_reserved(frame: str) -> None:
    try:
        kind = _typed.decode(frame).type
    except msgspec.MsgspecError:
        return  # no JSON object with a type
    if kind.startswith(RESERVED_PREFIX):
        raise ReservedType(
            f'The type "{kind}" cannot be sent: types that begin with "{RESERVED_PREFIX}" '
            "belong to wsadapter. Choose another."
        )


# Publishing


def _send(publication: Publication, on_commit: bool | str) -> Receipt:
    forbid_event_loop(publication.helper)
    if on_commit:
        return _at_commit(publication, on_commit)
    return _publish(publication)


async def _asend(publication: Publication, on_commit: bool | str) -> Receipt:
    if on_commit:
        # Transactions belong to the thread that Django keeps for synchronous code.
        return await sync_to_async(_at_commit, thread_sensitive=True)(publication, on_commit)
    return await _apublish(publication)


def _publish(publication: Publication) -> Receipt:
    if _collected(publication):
        return _PENDING
    if recorders:
        return recorders[-1].take(publication)
    question = _question(publication)
    with _leaving(publication.helper, publication.posts):
        if question is None:
            published = _publish_posts(publication.posts)
        else:
            published = _publisher().publish(publication.posts, question)
    if publication.client_id is None:
        return Receipt(processes=published.processes)
    online = _answer(published, question)
    if online is None:
        online = conf.store().run(ClientOnline(publication.client_id))
    return Receipt(processes=published.processes, online=online)


async def _apublish(publication: Publication) -> Receipt:
    if _collected(publication):
        return _PENDING
    if recorders:
        return recorders[-1].take(publication)
    question = _question(publication)
    with _leaving(publication.helper, publication.posts):
        if question is None:
            published = await _apublish_posts(publication.posts)
        else:
            published = await _publisher().apublish(publication.posts, question)
    if publication.client_id is None:
        return Receipt(processes=published.processes)
    online = _answer(published, question)
    if online is None:
        online = await conf.store().arun(ClientOnline(publication.client_id))
    return Receipt(processes=published.processes, online=online)


_PENDING = Receipt(pending=True)


def _collected(publication: Publication) -> bool:
    """Whether a bulk has taken it."""
    bulk = bulks.current()
    return bulk is not None and bulk.keep((publication,))


def _question(publication: Publication) -> Question | None:
    """Whether the client is online, as a command for the publisher's own round trip."""
    if publication.client_id is None:
        return None
    store = conf.store()
    if not isinstance(store, RedisStore):
        return None
    step = store.step(ClientOnline(publication.client_id))
    return Question(store.pool, step.command, step.parse)


def _answer(published: Published, question: Question | None) -> bool | None:
    """The store's reply that came along, or None when it has to be asked by itself."""
    if question is None or published.reply is None or isinstance(published.reply, Exception):
        return None
    return bool(question.parse(published.reply))


def _send_collected() -> None:
    """Send what the surrounding bulk has so far, so that what comes now comes after it."""
    if (bulk := bulks.current()) is not None:
        _publish_together(bulk.take())


async def _asend_collected() -> None:
    if (bulk := bulks.current()) is not None:
        await _apublish_together(bulk.take())


def _publish_together(publications: Sequence[Publication]) -> None:
    if posts := _posts_of(publications):
        with _leaving("bulk", posts):
            _publish_posts(posts)


async def _apublish_together(publications: Sequence[Publication]) -> None:
    if posts := _posts_of(publications):
        with _leaving("bulk", posts):
            await _apublish_posts(posts)


@contextmanager
def _leaving(helper: str, posts: Sequence[Post]) -> Iterator[None]:
    """For those who observe it: how long it takes, and on the posts when they leave."""
    if not hooks.published:
        yield
        return
    now = time.time()  # and not when they were made: they may have waited for a commit or a bulk
    for post in posts:
        if isinstance(post.order, Push):
            post.order.sent_at = now
    begun_at = time.perf_counter()
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        hooks.published(helper, len(posts), time.perf_counter() - begun_at, error)


def _posts_of(publications: Sequence[Publication]) -> list[Post]:
    """What is to be posted for them: nothing when they are recorded."""
    if recorders:
        for publication in publications:
            recorders[-1].take(publication)
        return []
    return [post for publication in publications for post in publication.posts]


def _publish_posts(posts: Sequence[Post]) -> Published:
    if (wanted := _next_stamps(posts)) is not None:
        posts = _stamped(posts, conf.store().run(wanted))
    return publish_all(_publisher(), posts)


async def _apublish_posts(posts: Sequence[Post]) -> Published:
    if (wanted := _next_stamps(posts)) is not None:
        posts = _stamped(posts, await conf.store().arun(wanted))
    return await apublish_all(_publisher(), posts)


def _next_stamps(posts: Sequence[Post]) -> NextStamps | None:
    groups = tuple([post.group for post in posts if post.sequence])
    return NextStamps(groups) if groups else None


def _stamped(posts: Sequence[Post], stamps: tuple[Stamp, ...]) -> list[Post]:
    """The posts, each that is part of a sequence with the next of the stamps."""
    following = iter(stamps)
    return [_stamped_post(post, next(following)) if post.sequence else post for post in posts]


def _stamped_post(post: Post, stamp: Stamp) -> Post:
    assert isinstance(post.order, Push)
    return Post(post.group, post.order.stamped(stamp))


def _at_commit(publication: Publication, on_commit: bool | str) -> Receipt:
    using = None if on_commit is True else str(on_commit)
    hook = CommitHook(publication, transaction.get_connection(using))
    transaction.on_commit(hook, using=using, robust=True)
    if recorders and hook.waits:
        recorders[-1].hold(hook)
    # Outside of a transaction Django has called the hook already.
    return Receipt(pending=True) if hook.receipt is None else hook.receipt


class CommitHook:
    """Publishes when its transaction commits. A failure harms nobody: the data is committed."""

    def __init__(self, publication: Publication, connection: BaseDatabaseWrapper) -> None:
        self.publication = publication
        self.receipt: Receipt | None = None
        self._connection = connection

    @property
    def waits(self) -> bool:
        """Whether the transaction may still commit; a roll-back takes its hooks away."""
        return any(hook is self for _, hook, *_ in self._connection.run_on_commit)

    def __call__(self) -> None:
        if self.receipt is not None:
            return  # a recorder has taken it before its commit
        try:
            self.receipt = _publish(self.publication)
        except Exception as error:
            self.receipt = Receipt()
            logger.exception(
                "What %s was to send at commit could not be published.", self.publication.helper
            )
            publish_failed.send_robust(CommitHook, error=error)


_publishers: dict[str, tuple[str, Any, Publisher]] = {}


def _publisher() -> Publisher:
    """The publisher of the project's channel layer, made anew when the layer changes."""
    found = _publishers.get("publisher")
    if found is not None:
        alias, layer, publisher = found
        if get_channel_layer(alias) is layer:
            return publisher
    layer = conf.layer()
    publisher = publisher_for(
        layer,
        seating_loops,
        timeout_seconds=conf.settings.redis_timeout,
        max_connections=conf.settings.redis_pool_size,
    )
    _publishers["publisher"] = (conf.settings.channel_layer, layer, publisher)
    return publisher


def _forget_publisher(*, setting: str, **kwargs: Any) -> None:
    if setting in ("WSADAPTER", "CHANNEL_LAYERS"):
        _publishers.clear()


setting_changed.connect(_forget_publisher)
