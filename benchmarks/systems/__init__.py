"""All systems, in the order in which they are run and shown."""

from __future__ import annotations

from benchmarks.system import System
from benchmarks.systems import adapter, c_loop, echoes, nchan, node_peers, python_peers, stock

SYSTEMS: list[System] = [
    *adapter.SYSTEMS,
    *stock.SYSTEMS,
    *python_peers.SYSTEMS,
    *node_peers.SYSTEMS,
    *nchan.SYSTEMS,
    *c_loop.SYSTEMS,
    *echoes.SYSTEMS,
]
