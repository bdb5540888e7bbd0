"""``hosts`` as channels_redis takes them, each against the real thing it names."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.dependencies import absent, redis_executable
from tests.layers.conftest import receive
from tests.processes import Process, free_port
from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter.errors import StoreUnavailable
from wsadapter.layers import RedisChannelLayer

EVENT = {"type": "order.paid", "id": 7}

StartRedis = Callable[..., Process]


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[StartRedis]:
    """Start a redis-server with these arguments; it ends with the test."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(
            Process(
                [redis_executable(), *arguments, "--dir", str(tmp_path)],
                log_path=tmp_path / f"redis-{len(started)}.log",
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()


def ready(process: Process, client: redis.Redis) -> None:
    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    process.until_ready(answers)
    client.close()


@pytest.fixture
async def layer_on(prefix: str) -> AsyncIterator[Callable[..., RedisChannelLayer]]:
    """Make a layer on hosts; its connections are closed with the test."""
    layers: list[RedisChannelLayer] = []

    def make(*hosts: Any, **options: Any) -> RedisChannelLayer:
        layers.append(RedisChannelLayer(hosts=list(hosts), prefix=prefix, **options))
        return layers[-1]

    yield make
    for layer in layers:
        await layer.flush()
        for pool in layer.pools:
            pool.sync_client().connection_pool.disconnect()


LayerOn = Callable[..., RedisChannelLayer]


async def it_works(layer: RedisChannelLayer) -> None:
    """A channel, a group, and a publisher that knows no event loop."""
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    await layer.send(channel, EVENT)
    assert await receive(layer, channel) == EVENT
    await layer.group_send("news", EVENT)
    assert await receive(layer, channel) == EVENT
    name = layer.group_channel("news")
    published = layer.pools[layer.shard(name)].sync_client().publish(name, layer.serialize(EVENT))
    assert published == 1
    assert await receive(layer, channel) == EVENT


async def test_a_unix_socket(layer_on: LayerOn, start_redis: StartRedis, tmp_path: Path) -> None:
    path = str(tmp_path / "redis.socket")
    process = start_redis("--port", "0", "--unixsocket", path, "--save", "")
    ready(process, redis.Redis(unix_socket_path=path))
    await it_works(layer_on(f"unix://{path}?db=2"))


async def test_a_host_and_a_port(layer_on: LayerOn, redis_server: RedisServer) -> None:
    await it_works(layer_on(("127.0.0.1", redis_server.port)))


async def test_a_dict_is_handed_on_to_redis_py(
    layer_on: LayerOn, redis_server: RedisServer, look_into: redis.Redis, prefix: str
) -> None:
    names = [f"{prefix}-1", f"{prefix}-2"]
    hosts: list[dict[str, Any]] = [
        {"address": redis_server.url, "client_name": names[0]},
        {"host": "127.0.0.1", "port": redis_server.port, "db": 3, "client_name": names[1]},
    ]
    for host, name in zip(hosts, names, strict=True):
        await it_works(layer := layer_on(host))
        ours = [client for client in look_into.client_list() if client["name"] == name]
        assert {client["flags"] for client in ours} == {"N", "P"}, "who publishes, and who listens"
        assert {client["db"] for client in ours} == {str(host.get("db", 0))}
        await layer.flush()


# TLS


class Certificate:
    """A certificate for 127.0.0.1 that has signed itself, and its key."""

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Redis of a test")])
        now = datetime.datetime.now(datetime.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.path, self.key_path = str(directory / "redis.crt"), str(directory / "redis.key")
        pem = serialization.Encoding.PEM
        Path(self.path).write_bytes(certificate.public_bytes(pem))
        Path(self.key_path).write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@pytest.fixture
def tls_port(start_redis: StartRedis, certificate: Certificate) -> int:
    """The port of a Redis that speaks nothing but TLS."""
    linked = subprocess.run(["ldd", redis_executable()], capture_output=True, text=True).stdout
    if "libssl" not in linked:
        absent("a Redis that speaks TLS", "install the redis-server of your distribution")
    port = free_port()
    process = start_redis(
        *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--save", ""),
        *("--tls-cert-file", certificate.path, "--tls-key-file", certificate.key_path),
    )
    ready(process, redis.Redis(port=port, ssl=True, ssl_cert_reqs="none"))
    return port


async def test_tls_by_url_and_options(
    layer_on: LayerOn, tls_port: int, certificate: Certificate
) -> None:
    host = {"address": f"rediss://127.0.0.1:{tls_port}/0", "ssl_ca_certs": certificate.path}
    await it_works(layer_on(host))


async def test_tls_by_a_url_alone(
    layer_on: LayerOn, tls_port: int, certificate: Certificate
) -> None:
    await it_works(layer_on(f"rediss://127.0.0.1:{tls_port}/0?ssl_ca_certs={certificate.path}"))


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    layer_on: LayerOn, tls_port: int
) -> None:
    layer = layer_on(f"rediss://127.0.0.1:{tls_port}/0", timeout_seconds=0.5)
    with pytest.raises(StoreUnavailable) as caught:
        await layer.group_send("news", EVENT)
    assert isinstance(caught.value.__cause__, redis.ConnectionError | ssl.SSLError)
    with pytest.raises(StoreUnavailable):
        await layer.new_channel()


# Sentinel


@pytest.fixture
def sentinel_host(start_redis: StartRedis, redis_server: RedisServer, tmp_path: Path) -> Any:
    """A master that only its Sentinel knows the address of."""
    port = free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {redis_server.port} 1\n"
    )
    process = start_redis(str(configuration), "--sentinel")
    ready(process, redis.Redis(port=port))
    return {"sentinels": [("127.0.0.1", port)], "master_name": "shop"}


async def test_the_master_of_a_sentinel(layer_on: LayerOn, sentinel_host: Any) -> None:
    await it_works(layer_on(sentinel_host))


async def test_a_subscription_is_found_again_through_the_sentinel(
    layer_on: LayerOn, sentinel_host: Any, look_into: redis.Redis
) -> None:
    layer = layer_on(sentinel_host)
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    look_into.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await aeventually(lambda: layer.reconnects == 1)
    await layer.group_add("news", channel)  # returns when Redis has all of them again
    await layer.group_send("news", EVENT)
    assert await receive(layer, channel) == EVENT


def test_sync_code_sends_through_the_sentinel(sentinel_host: Any, prefix: str) -> None:
    layer = RedisChannelLayer(hosts=[sentinel_host], prefix=prefix)
    with asyncio.Runner() as runner:
        channel = runner.run(layer.new_channel())
        async_to_sync(layer.send)(channel, EVENT)
        assert runner.run(receive(layer, channel)) == EVENT
