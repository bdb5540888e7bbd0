"""The app that counts, as docs/metrics.md has it; of the variant that measures what this costs."""

from __future__ import annotations

from django.apps import AppConfig


class MeteredConfig(AppConfig):
    name = "benchmarks.systems.channels_site.metered"

    def ready(self) -> None:
        import wsadapter.metrics  # noqa: F401
