"""On which of a group's sockets a page of its engine is to be asked for. PURE."""

from agent.engines.engine import Engine
from agent.sources.serving.landscape import Group, Listener


def listener(engine: Engine, door: str, group: Group, main: Listener) -> Listener | None:
    """The socket behind a door: "" is the one it serves on; None where none of the group's is known to be it."""
    if not door:
        return main
    known = next((one for one in engine.doors if one.name == door), None)
    if known is None:
        return None
    own = {one.port: one for one in group.listeners}
    for port in known.ports(group.argvs, main.port, own.keys()):
        if port in own:
            return own[port]
        if group.processes and not known.shared and len(own) > 1:
            continue  # its sockets can be seen, and this is none of them
        return Listener(main.address, port, main.uid, f"{main.key}/{door}", main.local)
    return None
