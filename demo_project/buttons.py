"""The buttons of the page: what each promises, and the code that it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo_project import actions, tasks
from demo_project.consumers import Demo
from demo_project.excerpt import Excerpt


@dataclass(frozen=True)
class Button:
    name: str
    title: str
    promise: str
    code: Callable[..., Any]
    view: Callable[..., Any] | None = None  # None: it goes through the socket
    needs: str = ""  # "celery" or "supervisor": absent from `manage.py runserver`
    danger: bool = False

    @property
    def excerpt(self) -> Excerpt:
        return Excerpt(self.code)


def view_button(name: str, title: str, promise: str, **options: Any) -> Button:
    view = getattr(actions, name.replace("-", "_"))
    return Button(name, title, promise, **{"code": view, "view": view, **options})


@dataclass(frozen=True)
class Group:
    title: str
    buttons: list[Button]


STATISTICS = Excerpt(tasks.publish_statistics)

GROUPS = [
    Group(
        "Send",
        [
            view_button("to-me", "To me", "Every connection of this user, on any process."),
            view_button("to-other", "To the other", "All connections of somebody else."),
            view_button("to-all", "To everyone", "Both panes, the bare socket, other tabs."),
            view_button(
                "to-all-others",
                "To everyone but this tab",
                "The request names its connection in X-Client-Id.",
            ),
            view_button("to-this-tab", "To this tab only", "One connection, by its client id."),
        ],
    ),
    Group(
        "Transactions",
        [
            view_button(
                "roll-back",
                "On commit, then roll back",
                "Nothing may arrive: the transaction never committed.",
            ),
            view_button("commit", "On commit, and commit", "Arrives once it is committed."),
        ],
    ),
    Group(
        "Celery",
        [
            view_button(
                "report",
                "Start a long task",
                "The worker, another process, reports its progress to its user.",
                code=tasks.make_report,
                needs="celery",
            ),
        ],
    ),
    Group(
        "Break it",
        [
            Button(
                "kill",
                "Kill my server process (-9)",
                "The page comes back by itself; the count puts itself right within one lease.",
                Demo.kill,
                needs="supervisor",
                danger=True,
            ),
            view_button(
                "stop-redis",
                "Stop Redis for five seconds",
                "Sockets stay open, helpers say so at once, delivery comes back by itself.",
                needs="supervisor",
                danger=True,
            ),
        ],
    ),
]

BUTTONS = [button for group in GROUPS for button in group.buttons]
