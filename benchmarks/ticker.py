"""The ticker's process: ``python -m benchmarks.ticker <rooms> <messages a second>``.

It sends messages at a steady pace, each to one of the rooms in turn. They have the next number
of the room, so that whoever is in it knows what it has missed, and the time, of the clock that all
processes share. It runs in the environment of the site.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time

from benchmarks.answering import Verbs, answer, say_ready


class Ticker:
    """Ticks in a thread of its own from `start` until `stop`.

    Args:
        rooms: how many there are.
        per_second: messages, to all rooms together.
    """

    def __init__(self, rooms: int, per_second: float) -> None:
        self._numbers = [0] * rooms
        self._interval_seconds = 1 / per_second
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, _: None) -> None:
        self._thread.start()

    def stop(self, _: None) -> list[int]:
        """The last number of each room."""
        self._stopped.set()
        self._thread.join()
        return self._numbers

    def _run(self) -> None:
        from wsadapter import send_to_group

        began = time.monotonic()
        for count in itertools.count():
            due = began + count * self._interval_seconds
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                return
            room = count % len(self._numbers)
            self._numbers[room] += 1
            tick = {"type": "tick", "number": self._numbers[room], "at": time.monotonic()}
            send_to_group(room_name(room), tick)


def room_name(room: int) -> str:
    return f"room {room}"


def main() -> None:
    import django

    django.setup()
    ticker = Ticker(int(sys.argv[1]), float(sys.argv[2]))
    verbs: Verbs = {"start": ticker.start, "stop": ticker.stop}
    say_ready()
    for line in sys.stdin:
        answer(line, verbs)


if __name__ == "__main__":
    main()
