"""Cockpits on the unix socket: `listener` owns the socket, `connection` one client's transport, `session` one
client's protocol, `feed` what all of them read. One bad client costs nobody else anything but its slot. `pipe` serves a
single client on stdin and stdout; `door` is what both are to the agent.
"""

from agent.server.door import Door
from agent.server.feed import Feed
from agent.server.listener import Server

__all__ = ["Door", "Feed", "Server"]
