"""Who came and who went, in the whole cluster: each is told once, by the process that finds out.

Who comes is told at once. Who goes is told when the grace is over, if nobody has come back: by
the process that saw them go, or, should that one be gone itself, by another one's next beat.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable

from channels import db

from wsadapter import broadcasting
from wsadapter.errors import StoreUnavailable
from wsadapter.signals import user_came_online, user_went_offline
from wsadapter.store import MemoryStore, RedisStore
from wsadapter.store.operations import TAKE_SIZE, Membership, TakeDue, Transition
from wsadapter.wire import envelope

logger = logging.getLogger("wsadapter.presence")

#: Of those who go one after the other, several are asked for together.
TOGETHER_SECONDS = 0.25
#: Redis rounds to milliseconds.
MARGIN_SECONDS = 0.01
#: While Redis is away it is asked again after this time.
RETRY_SECONDS = 1.0
#: The receivers of one signal may take so long; what comes next waits for them.
RECEIVERS_SECONDS = 10.0

News = Transition | Membership


class Announcer:
    """Tells what one node finds out: one after the other, in that order.

    Args:
        store: where it is known who is absent.
        grace_seconds: for how long somebody is absent before it is told.
        lease_seconds: see `TakeDue`.
        after: whoever has told before on this event loop, and may not be done.
        on_taken: called with a time of the loop's clock: of all who had gone by then and have not
            come back it is told, by whatever process.
    """

    def __init__(
        self,
        store: RedisStore | MemoryStore,
        *,
        grace_seconds: float,
        lease_seconds: float,
        on_taken: Callable[[float], None],
        after: Announcer | None = None,
    ) -> None:
        self._store = store
        self._after = after if after is not None and after._telling is not None else None
        self._on_taken = on_taken
        self._take_due = TakeDue(grace_seconds, lease_seconds)
        self._news: deque[News] = deque()
        self._telling: asyncio.Task[None] | None = None
        #: When those are asked for whose absence began last, by the loop's clock.
        self._last_look = -math.inf
        self._looks: set[asyncio.Task[None]] = set()

    def tell(self, news: Iterable[News]) -> None:
        """Tell soon: of a user who came or went, of somebody who came to a group or left it."""
        self._news.extend(news)
        if self._news and self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell_all())

    def expect(self) -> None:
        """Somebody may have gone just now: look for it when the grace is over."""
        due = asyncio.get_running_loop().time() + self._take_due.grace_seconds + MARGIN_SECONDS
        if due > self._last_look:
            self._last_look = due + TOGETHER_SECONDS
            self._look_at(self._last_look)

    def expect_last(self) -> None:
        """No beat of this process finds anybody any more: look for what is due later by itself.

        By the time that every lease of now is over, the killed ones can be reaped, and after a
        loss of memory it is certain who is gone; those who are reaped are due a grace later.
        """
        grace_seconds = self._take_due.grace_seconds + MARGIN_SECONDS
        settled = asyncio.get_running_loop().time() + self._take_due.lease_seconds
        for graces in (1, 2):
            self._look_at(settled + graces * grace_seconds)

    async def take_due(self) -> None:
        """Tell of all that is due by now; what killed processes left behind is removed on the way.

        Raises:
            StoreUnavailable: Redis did not answer in time.
        """
        asked_at = asyncio.get_running_loop().time()
        more = True
        while more:
            due: tuple[Transition, ...] = await self._store.arun(self._take_due)
            self.tell(due)  # before the next ones: what is taken is told, whatever Redis does
            more = len(due) >= TAKE_SIZE
        self._on_taken(asked_at - self._take_due.grace_seconds)

    async def finish(self, timeout_seconds: float | None = None) -> None:
        """Wait for the receivers of what is known, within a time if one is given.

        What is due later is told all the same, if this event loop lives on; else others tell it.
        """
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=timeout_seconds)

    def _look_at(self, due: float) -> None:
        # By a timer, no task: a loop that closes meanwhile leaves nothing behind.
        asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        look = asyncio.get_running_loop().create_task(self._look_for_absent())
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def _look_for_absent(self) -> None:
        try:
            await self.take_due()
        except StoreUnavailable:
            self._look_at(asyncio.get_running_loop().time() + RETRY_SECONDS)
        except Exception:
            logger.exception("Asking who is gone failed; the next beat asks again.")

    async def _tell_all(self) -> None:
        try:
            if self._after is not None:
                await self._after.finish()
                self._after = None
            while self._news:
                await _tell(self._news.popleft())
        finally:
            self._telling = None


async def _tell(news: News) -> None:
    """Tell one thing; what goes wrong with it is logged, and the next one is told all the same."""
    try:
        if isinstance(news, Membership):
            frame = envelope.joined(news.group, news.user_id, news.client_id, news.info)
            await broadcasting.tell_group(news.group, frame, exclude=[news.client_id])
        elif news.group is not None:
            frame = envelope.left(news.group, news.user_id, news.client_id)
            await broadcasting.tell_group(news.group, frame)
        else:
            await _signal(news)
    except StoreUnavailable:
        logger.info("A group could not be told who came or went: Redis does not answer.")
    except Exception:
        logger.exception("Telling who came or went failed.")


async def _signal(transition: Transition) -> None:
    name, signal = _SIGNALS[transition.came]
    if not signal.has_listeners(Announcer):
        return
    try:
        async with asyncio.timeout(RECEIVERS_SECONDS):
            await db.aclose_old_connections()  # receivers write down who came and went
            await signal.asend_robust(Announcer, user_id=transition.user_id)
    except TimeoutError:
        logger.warning(
            "A receiver of %s did not return within %g s and is given up.", name, RECEIVERS_SECONDS
        )
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # It awaited something that was cancelled.
        logger.error("A receiver of %s was cancelled.", name, exc_info=error)


#: By whether somebody came.
_SIGNALS = {
    True: ("user_came_online", user_came_online),
    False: ("user_went_offline", user_went_offline),
}
