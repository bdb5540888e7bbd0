"""The wheel holds all of the package, and works where nothing of this repository is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from fnmatch import filter as matching
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.xdist_group("wheel")  # built once, whatever the number of workers

LEADS_HERE = {"DJANGO_SETTINGS_MODULE", "PYTHONPATH"}

NEEDED = (
    "wsadapter/py.typed",
    "wsadapter/store/lua/*.lua",
    "wsadapter/static/wsadapter/socket.js",
    "wsadapter/templatetags/wsadapter.py",
    "wsadapter-*.dist-info/licenses/LICENSE",
)


def run(*command: str | Path, cwd: Path) -> str:
    """What the command printed, in an environment that does not name this repository."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in LEADS_HERE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    run(*build, "--outdir", directory, cwd=ROOT)
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def contents(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a new environment, in which the wheel is installed.

    Its dependencies are the ones that the tests run with, so nothing is downloaded.
    """
    directory = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", "env", cwd=directory)
    python = directory / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel, cwd=directory)
    libraries = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=directory
    )
    dependencies = Path(libraries.strip()) / "dependencies.pth"
    dependencies.write_text(sysconfig.get_path("purelib"))
    return directory


def run_python(code: str, *, elsewhere: Path) -> str:
    return run("env/bin/python", "-W", "error", "-c", code, cwd=elsewhere)


@pytest.mark.parametrize("pattern", NEEDED)
def test_the_wheel_contains(pattern: str, contents: list[str]) -> None:
    assert matching(contents, pattern)


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(contents: list[str]) -> None:
    packaged = {name for name in contents if ".dist-info/" not in name}
    files = (path for path in (ROOT / "wsadapter").rglob("*") if path.is_file())
    assert packaged == {
        path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"
    }


def test_the_installed_package_imports_before_settings_are_configured(elsewhere: Path) -> None:
    code = "import wsadapter; print(wsadapter.__file__); wsadapter.send_to_user"
    assert run_python(code, elsewhere=elsewhere).startswith(str(elsewhere / "env"))


SITE = """
import django
from django.conf import settings
from django.core.management import call_command
settings.configure(
    SECRET_KEY="x" * 60,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions", "django.contrib.staticfiles",
                    "channels", "wsadapter"],
    CHANNEL_LAYERS={"default": {"BACKEND": "wsadapter.layers.InMemoryChannelLayer"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    STATIC_URL="static/",
)
django.setup()
"""


def test_the_installed_package_passes_the_checks_of_a_site(elsewhere: Path) -> None:
    assert "no issues" in run_python(f"{SITE}\ncall_command('check')", elsewhere=elsewhere)


def test_the_installed_package_brings_its_script_and_its_template_tag(elsewhere: Path) -> None:
    code = f"""{SITE}
from django.contrib.staticfiles import finders
from django.template import engines
assert finders.find("wsadapter/socket.js")
print(engines["django"].from_string("{{% load wsadapter %}}{{% wsadapter_script %}}").render())
"""
    assert "wsadapter/socket.js" in run_python(code, elsewhere=elsewhere)
