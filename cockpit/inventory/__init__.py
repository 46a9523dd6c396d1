"""Which hosts there are and how to reach them: from a fleet file or from `--host`. Reads one file, opens no connection.

Everything is checked here, once, so that links meet only addresses that can be tried. A mistake is one sentence with
the file, the place in it and, for a misspelt key or name, the nearest valid one.
"""

from cockpit.inventory.fleet_file import load
from cockpit.inventory.hosts import HostEntry, Inventory, PoolEntry, did_you_mean, from_hosts
from cockpit.inventory.target import AGENT_SOCKET, Hop, SshTarget, Target, UnixTarget, parse_target

__all__ = [
    "AGENT_SOCKET", "Hop", "HostEntry", "Inventory", "PoolEntry", "SshTarget", "Target", "UnixTarget",
    "did_you_mean", "from_hosts", "load", "parse_target",
]  # fmt: skip
