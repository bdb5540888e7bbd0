"""The public names, and each helper beside its twin."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import wsadapter
from wsadapter import AsyncContextError, Priority, Receipt

HELPERS = {
    "broadcast",
    "send_to_user",
    "send_to_users",
    "send_to_client",
    "send_to_group",
    "online_count",
    "online_user_count",
    "is_online",
    "online_users",
    "online_clients",
    "online_nodes",
    "members",
    "member_count",
    "disconnect_user",
    "disconnect_client",
}
TWINS = {f"a{helper}" for helper in HELPERS}
BLOCKS = {"bulk", "abulk"}  # for `with` and `async with`
DRAINS = {"drain", "adrain"}  # of which a process has one in its life
OTHERS = {
    "AsyncContextError",
    "Batch",
    "ByteReader",
    "ByteWriter",
    "ClientInfo",
    "CloseCode",
    "ClosedBy",
    "Connection",
    "ConnectionClosed",
    "ConnectionTimeout",
    "EVERYONE",
    "EncodeError",
    "Endpoint",
    "EndpointError",
    "Exhausted",
    "Failure",
    "FailureKind",
    "Fatal",
    "HandlerError",
    "HealthPolicy",
    "InvalidMessage",
    "Member",
    "NodeInfo",
    "Overflow",
    "PeerError",
    "Priority",
    "RateLimit",
    "ReadTimeout",
    "Receipt",
    "ReceiveConflict",
    "ReservedType",
    "RetriesExhausted",
    "Retry",
    "State",
    "Stats",
    "StoreUnavailable",
    "Stream",
    "Transient",
    "UnexpectedFrame",
    "ViewError",
    "WSAdapterError",
    "WriteTimeout",
    "__version__",
    "handler",
    "is_draining",
    "is_websocket",
    "periodic",
    "pipe",
    "should_reconnect",
    "stream",
    "user_group",
    "websocket",
    "with_views",
}

SOURCE = Path(wsadapter.__file__).read_text()

#: For each helper, arguments that it can be called with.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "broadcast": ("hi",),
    "send_to_user": (1, "hi"),
    "send_to_users": ([1], "hi"),
    "send_to_client": ("tab-1", "hi"),
    "send_to_group": ("news", "hi"),
    "online_count": (),
    "online_user_count": (),
    "is_online": (1,),
    "online_users": (),
    "online_clients": (),
    "online_nodes": (),
    "members": ("news",),
    "member_count": ("news",),
    "disconnect_user": (1,),
    "disconnect_client": ("tab-1",),
}


def imported_for_type_checkers() -> dict[str, str]:
    """Each name that the TYPE_CHECKING block re-exports, with its module."""
    guards = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.If)]
    names = {}
    for node in guards[0].body:
        assert isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names:
            assert alias.asname == alias.name, "type checkers re-export `import x as x` only"
            names[alias.name] = node.module
    return names


def test_the_public_names_are_these() -> None:
    assert set(wsadapter.__all__) == HELPERS | TWINS | BLOCKS | DRAINS | OTHERS
    assert len(wsadapter.__all__) == len(set(wsadapter.__all__))
    assert dir(wsadapter) == sorted(wsadapter.__all__)


def test_type_checkers_see_what_is_there() -> None:
    assert imported_for_type_checkers() == wsadapter._HOME


@pytest.mark.parametrize("name", sorted(HELPERS | TWINS | BLOCKS | DRAINS | OTHERS))
def test_every_name_loads(name: str) -> None:
    assert getattr(wsadapter, name) is not None


def test_a_name_that_does_not_exist_is_told_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'wsadapter' has no attribute 'brodcast'"):
        _ = wsadapter.brodcast


def test_importing_needs_no_settings_and_loads_no_django() -> None:
    code = (
        "import sys, wsadapter\n"
        "wsadapter.CloseCode, wsadapter.EncodeError, wsadapter.Priority, wsadapter.__all__\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'django']\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(wsadapter.__file__).parent.parent,
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_module_of_a_django_project_may_import_the_helpers_before_the_settings() -> None:
    code = "from wsadapter import broadcast, online_count, user_group, handler, is_websocket"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(wsadapter.__file__).parent.parent,
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# Twins


def parameters(helper: str) -> dict[str, tuple[Any, ...]]:
    """Name, kind, default and annotation of each parameter, in order."""
    signature = inspect.signature(getattr(wsadapter, helper), eval_str=True)
    return {
        name: (number, p.kind, p.default, p.annotation)
        for number, (name, p) in enumerate(signature.parameters.items())
    }


@pytest.mark.parametrize("helper", [*sorted(HELPERS), "bulk", "drain"])
def test_a_twin_has_the_same_parameters(helper: str) -> None:
    assert parameters(f"a{helper}") == parameters(helper)


@pytest.mark.parametrize("helper", [*sorted(HELPERS), "bulk", "drain"])
def test_a_twin_gives_the_same(helper: str) -> None:
    returned = get_type_hints(getattr(wsadapter, helper))["return"]
    by_twin = get_type_hints(getattr(wsadapter, f"a{helper}"))["return"]
    if get_origin(returned) is Iterator:
        assert get_origin(by_twin) is AsyncIterator
        assert get_args(by_twin) == get_args(returned)
    else:
        assert by_twin == returned


@pytest.mark.parametrize("helper", [*sorted(HELPERS), "bulk", "drain"])
def test_a_twin_is_documented_as_such(helper: str) -> None:
    original, twin = getattr(wsadapter, helper), getattr(wsadapter, f"a{helper}")
    assert original.__doc__
    assert twin.__doc__.startswith(f"The twin of `{helper}`")
    assert twin.__module__ == original.__module__


@pytest.mark.parametrize("helper", sorted(HELPERS))
def test_a_twin_is_asynchronous_and_its_original_is_not(helper: str) -> None:
    original, twin = getattr(wsadapter, helper), getattr(wsadapter, f"a{helper}")
    assert inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin)
    assert not inspect.iscoroutinefunction(original)
    assert not inspect.isasyncgenfunction(original)


@pytest.mark.parametrize("helper", sorted(HELPERS))
async def test_on_a_running_event_loop_a_helper_names_its_twin(helper: str) -> None:
    with pytest.raises(AsyncContextError, match=rf"^{helper}\(\) would block .* Use a{helper}\(\)"):
        getattr(wsadapter, helper)(*ARGUMENTS[helper])


async def test_on_a_running_event_loop_a_block_names_its_twin_and_that_works() -> None:
    names_its_twin = pytest.raises(AsyncContextError, match=r"^bulk\(\) would .* Use abulk\(\)")
    with names_its_twin, wsadapter.bulk():
        raise AssertionError("the block was entered")
    async with wsadapter.abulk():
        pass


@pytest.mark.parametrize("helper", sorted(HELPERS))
async def test_on_a_running_event_loop_a_twin_works(helper: str) -> None:
    answer = getattr(wsadapter, f"a{helper}")(*ARGUMENTS[helper])
    if isinstance(answer, Awaitable):
        await answer
    else:
        assert [item async for item in answer] == []


@pytest.mark.parametrize("helper", sorted(HELPERS))
def test_every_helper_works_where_nobody_is_connected(helper: str) -> None:
    answer = getattr(wsadapter, helper)(*ARGUMENTS[helper])
    if isinstance(answer, Receipt):
        assert (answer.pending, answer.processes) == (False, 0)
    else:
        assert not (list(answer) if isinstance(answer, Iterator) else answer)


@pytest.mark.parametrize("helper", sorted(name for name in HELPERS if "data" in parameters(name)))
def test_every_sending_helper_takes_the_same_options(helper: str) -> None:
    options = {
        name: default
        for name, (_, kind, default, _) in parameters(helper).items()
        if kind is inspect.Parameter.KEYWORD_ONLY
        and name not in ("authenticated_only", "sequence")  # of one helper each
    }
    assert options == {"exclude": (), "priority": Priority.NORMAL, "on_commit": False}


@pytest.mark.parametrize(
    ("receipt", "truth"),
    [
        (Receipt(), True),
        (Receipt(pending=True), True),
        (Receipt(processes=0), True),
        (Receipt(online=True), True),
        (Receipt(processes=3, online=False), False),
    ],
    ids=repr,
)
def test_a_receipt_is_false_only_when_the_client_was_not_there(
    receipt: Receipt, truth: bool
) -> None:
    assert bool(receipt) is truth
