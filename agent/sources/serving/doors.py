"""On which of a group's sockets a page of its engine is to be asked for. Sans-I/O.

What an option says and the usual places come first. Where they lead nowhere (Ray opens its metrics at a port of chance)
the group's other sockets are tried one after another, twice each, for the page that the engine prints there.
"""

from agent.engines.answer import Answer, Failure
from agent.engines.engine import Door, Engine
from agent.sources.serving.landscape import Group, Listener

TRIES = 2


class Doors:
    """Of one replica. `listener` says where to ask, `heard` what to make of the answer."""

    def __init__(self, engine: Engine) -> None:
        self._doors = {door.name: door for door in engine.doors}
        self._group: Group | None = None
        self._found: dict[str, Listener] = {}
        self._turns: dict[str, int] = {}
        self._trying: Listener | None = None

    def listener(self, name: str, group: Group, main: Listener) -> Listener | None:
        """The socket behind a door: "" is the one it serves on; None where none of the group's may be it."""
        self._trying = None
        if not name:
            return main
        if self._group is None or (group.key, group.listeners) != (self._group.key, self._group.listeners):
            self._found, self._turns = {}, {}
        self._group = group
        door = self._doors.get(name)
        if door is None:
            return None
        return self._found.get(name) or _known(door, group, main) or self._try(door, group, main)

    def heard(self, name: str, answer: Answer) -> Answer:
        """An answer that came through a door; of a socket that was only tried and is not it, none at all."""
        tried, self._trying = self._trying, None
        if tried is None:
            return answer
        prefix = self._doors[name].prefix.encode()
        if answer.ok and (answer.body.startswith(prefix) or b"\n" + prefix in answer.body):
            self._found[name] = tried
            return answer
        return Answer(failure=Failure.REFUSED, says=f"no {name} port is known of it")

    def _try(self, door: Door, group: Group, main: Listener) -> Listener | None:
        others = [one for one in group.listeners if one.port != main.port]
        turn = self._turns.get(door.name, 0)
        if not door.prefix or door.shared or turn >= TRIES * len(others):
            return None
        self._turns[door.name] = turn + 1
        self._trying = others[turn % len(others)]
        return self._trying


def _known(door: Door, group: Group, main: Listener) -> Listener | None:
    own = {one.port: one for one in group.listeners}
    for port in door.ports(group.argvs, main.port, own.keys()):
        if port in own:
            return own[port]
        if group.processes and not door.shared and len(own) > 1:
            continue  # its sockets can be seen, and this is none of them
        return Listener(main.address, port, main.uid, f"{main.key}/{door.name}", main.local)
    return None
