"""The Django app: checks registered, logouts heard, frames logged where that is asked for."""

from __future__ import annotations

from django.apps import AppConfig


class WSAdapterConfig(AppConfig):
    name = "wsadapter"
    verbose_name = "wsadapter"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in, user_logged_out

        from wsadapter import checks, frame_log, logout

        checks.register_all()
        frame_log.configure()
        user_logged_in.connect(logout.name_login, dispatch_uid="wsadapter.login")
        user_logged_out.connect(
            logout.close_connections_of_session, dispatch_uid="wsadapter.logout"
        )
