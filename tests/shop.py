"""`shop`: what the documentation tells a reader to type, in a project of Django's own making.

It is "an existing project": users log in, and templates/ holds its templates.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.deployment import PYTHON
from tests.markdown import Block
from tests.processes import ROOT, Process, free_port

OWN_TEMPLATES = '\nTEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]\n'
LOGIN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get_or_create(username="ada")[0])
print(client.cookies["sessionid"].value)
"""


class Shop:
    """A project and its processes.

    Args:
        directory: an empty one.
        redis_url: takes the place of the address in the documentation.
    """

    def __init__(self, directory: Path, *, redis_url: str = "") -> None:
        self.directory = directory
        self.redis_url = redis_url
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]),
        }
        self.run("-m", "django", "startproject", "shop", str(directory))
        with (directory / "shop/settings.py").open("a") as settings:
            settings.write(OWN_TEMPLATES)

    def type(self, blocks: Iterable[Block]) -> None:
        """Write the blocks into their files, in their order."""
        for block in blocks:
            if block.path is not None:
                path = self.directory / block.path
                path.parent.mkdir(exist_ok=True)
                text = block.text.replace("redis://localhost:6379/0", self.redis_url)
                with path.open("a" if block.is_addition else "w") as file:
                    file.write(f"\n{text}" if block.is_addition else text)

    def manage(self, *arguments: str) -> str:
        return self.run(str(self.directory / "manage.py"), *arguments)

    def shell(self, code: str) -> str:
        """What the code prints, in a process of its own with the project set up."""
        return self.run("-c", f"import django; django.setup()\n{code}")

    def run(self, *arguments: str) -> str:
        """What Python printed to its standard output, with every warning an error."""
        done = subprocess.run(
            [*PYTHON, *arguments],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def login(self) -> str:
        """The session key of the user "ada"."""
        return self.shell(LOGIN).strip()

    @contextmanager
    def runserver(self) -> Iterator[int]:
        """`manage.py runserver`, which is daphne's; gives the port."""
        port = free_port()
        command = [str(self.directory / "manage.py"), "runserver", "--noreload"]
        with self._server([*PYTHON, *command, f"127.0.0.1:{port}"], port):
            yield port

    @contextmanager
    def uvicorn(self, application: str, *, ws: str = "websockets-sansio") -> Iterator[int]:
        port = free_port()
        command = ["-m", "uvicorn", "--ws", ws, "--port", str(port), application]
        with self._server([*PYTHON, *command], port):
            yield port

    @contextmanager
    def _server(self, command: Sequence[str], port: int) -> Iterator[None]:
        log = self.directory / f"server-{port}.log"
        process = Process(command, log_path=log, environment=self.environment)
        try:
            process.until_ready(lambda: answers(port))
            yield
        finally:
            process.kill()
            print(process.log())


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
