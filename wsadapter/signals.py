"""Signals for those who watch: metrics, audit logs, tests. The core never waits for them.

Receivers run where the event happens, on the event loop: they must be quick. A receiver that
raises is logged and harms nobody.
"""

from __future__ import annotations

from django.dispatch import Signal

#: Sent with ``client: ClientInfo`` once a connection is registered.
client_connected = Signal()

#: Sent with ``client: ClientInfo``, ``code: int``, ``reason: str`` and ``duration: float``
#: (seconds) once per registered connection, however it ended.
client_disconnected = Signal()

#: Sent with ``user_id: str`` when a user's first connection anywhere begins: at most once in the
#: whole cluster, in the process where it begins; not when they were away for less than
#: `GRACE_SECONDS`.
user_came_online = Signal()

#: Sent with ``user_id: str`` when a user has had no connection anywhere for `GRACE_SECONDS`: at
#: most once in the whole cluster, in whichever process finds it out; exactly once unless that one
#: dies before its receivers have run. Counts and `is_online` do not wait for it.
user_went_offline = Signal()

#: Sent with ``client_id: str`` and ``error: Exception`` when the server refused a frame; the
#: connection is removed and the frame is never tried again.
delivery_failed = Signal()

#: Sent with ``client_id: str``, ``count: int`` and ``reason: str`` (the policy, such as
#: ``"drop-oldest"``) when a full outbox dropped pushes: at once for the first, then at most once a
#: second and connection, with the number since the last time.
message_dropped = Signal()

#: Sent with ``error: Exception`` when a send that waited for a commit could not be published.
publish_failed = Signal()
