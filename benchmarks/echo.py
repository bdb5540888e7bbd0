"""Echoes: typed messages there and back, with a bounded number of each connection under way."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.expectations import Conversation, Speaker
from benchmarks.load import TEXT, client_frame
from benchmarks.measures import Effort, Round
from benchmarks.running import FILLER, Running
from benchmarks.system import Message, System, text_frame

#: Of a message, as a client says it.
MESSAGE_BYTES = 200
#: Messages of one connection that may be under way.
WINDOW = 20

#: Seconds that a round should take; it has as many messages as that needs.
ROUND_SECONDS = 0.5
#: Messages of all connections in a round.
LEAST_MESSAGES, MOST_MESSAGES = 1000, 20_000


def echo(running: Running, connections: int, effort: Effort) -> dict[str, float]:
    """How many messages a second come back, on all connections together; each is compared."""
    running.crowd.grow(connections)
    few = messages_of_each(LEAST_MESSAGES, connections)
    converse(running, few)  # warm
    rate = few * connections / converse(running, few).seconds
    each = messages_of_each(int(rate * ROUND_SECONDS), connections)
    cpu_before = running.server_cpu_seconds()
    rounds = effort.rounds(lambda: converse(running, each))
    server_cpu = running.server_cpu_seconds() - cpu_before
    running.crowd.check_silence()
    seconds = [one.seconds for one in rounds]
    busy = sum(seconds)
    return {
        "messages_per_second": each * connections / median(seconds),
        "messages": each * connections,
        "rounds": len(rounds),
        "server_cpu": server_cpu / busy,
        "client_cpu": sum(one.client_cpu_seconds for one in rounds) / busy,
    }


def messages_of_each(wanted: int, connections: int) -> int:
    """Messages of each connection in a round that should have so many; two windows at least."""
    within = max(LEAST_MESSAGES, min(MOST_MESSAGES, wanted))
    return max(2 * WINDOW, within // connections)


def converse(running: Running, messages: int) -> Round:
    """One round, with so many messages of each connection."""
    speakers = {
        connection: speaker(running.system, connection, running.numbers(messages))
        for connection in running.crowd.connections
    }
    cpu_before, began = time.process_time(), time.monotonic()
    ended = running.crowd.converse(Conversation(speakers))
    client_cpu = time.process_time() - cpu_before
    return Round(ended - began, client_cpu, publisher_cpu_seconds=0)


def speaker(system: System, connection: int, numbers: list[int]) -> Speaker:
    messages = [message(system, number) for number in numbers]
    said = [client_frame(TEXT, system.said(message).encode()) for message in messages]
    heard = [text_frame(system.heard(message)) for message in messages]
    return Speaker(connection, said, heard, WINDOW)


def message(system: System, number: int) -> Message:
    """Five fields of several types; all messages are of one length, and each is another."""
    fields: Message = {
        "type": "chat.say",
        "id": 1_000_000_000 + number,
        "room": "a room with a view",
        "sent_at": 1_763_762_000.5 + number,
        "text": "",
    }
    room = MESSAGE_BYTES - len(system.said(fields))
    return {**fields, "text": (2 * FILLER)[:room]}
