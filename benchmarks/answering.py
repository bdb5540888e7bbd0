"""Processes that are asked: each takes one JSON request a line, and answers it with one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from os import sched_setaffinity
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, child_environment


class Ended(Exception):
    """The process ended instead of answering; the message has what it said."""


class AnsweringProcess:
    """The process, as the one sees it who asks; it says once that it is ready.

    Args:
        module: is run as ``python -m``, and has `say_ready` and `answer`, or the like.
        arguments: of its command line.
        cores: where it may run.
        log: gets what it writes to its standard error.
        environment: on top of this process's.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        cores: Collection[int],
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._log = log.open("w+")
        self._popen = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=child_environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        sched_setaffinity(self._popen.pid, cores)
        self.answer()

    def ask(self, verb: str, argument: Any = None) -> Any:
        self.request(verb, argument)
        return self.answer()

    def request(self, verb: str, argument: Any) -> None:
        """Ask for something; `answer` then waits for it to be done."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps({"verb": verb, "argument": argument}) + "\n")
        self._popen.stdin.flush()

    def answer(self) -> Any:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            self._popen.wait()
            self._log.seek(0)
            raise Ended(self._log.read()[-2000:])
        return json.loads(line)

    def end(self) -> None:
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._popen.kill()
        self._popen.wait()
        self._popen.stdin.close()
        self._popen.stdout.close()
        self._log.close()


Verbs = Mapping[str, Callable[[Any], Any]]


def say_ready() -> None:
    print(json.dumps("ready"), flush=True)


def answer(line: str, verbs: Verbs) -> None:
    """Do what a request asks for, and say what came of it."""
    request = json.loads(line)
    print(json.dumps(verbs[request["verb"]](request["argument"])), flush=True)
