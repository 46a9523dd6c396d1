"""User ids to names: /etc/passwd at once, the system's directory only on the lane, for it may not answer."""

import pwd
from pathlib import Path

from agent.sources.processes.lane import Answer, Lane

USERS = 4096


class Users:
    """Names by uid, remembered. Until a name is known, or if there is none, the number stands for it."""

    def __init__(self, lane: Lane, passwd: Path) -> None:
        self._lane = lane
        self._names = _local(passwd)
        self._asked: dict[int, Answer] = {}

    def name(self, uid: int) -> str:
        """The name as far as it is known now."""
        return self._names.get(uid, str(uid))

    def look_up(self, uid: int) -> bool:
        """Ask for a name that is not known; whether an answer may come."""
        if uid in self._names or uid in self._asked or len(self._asked) >= USERS:
            return False
        answer = self._lane.ask(lambda: _directory(uid))
        if answer is not None:
            self._asked[uid] = answer
        return answer is not None

    def collect(self, *, give_up: bool) -> bool:
        """Take what has been answered, and no longer wait for the rest if so told. Whether a name became known."""
        news = False
        for uid, answer in list(self._asked.items()):
            if answer.done:
                del self._asked[uid]
                self._names[uid] = str(uid) if answer.failed else answer.value
                news = True
            elif give_up and answer.cancel():
                del self._asked[uid]  # it was not its turn yet: asked again by the next process of that user
            elif give_up:
                self._lane.give_up(answer)
        return news


def _local(passwd: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    try:
        lines = passwd.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return names
    for line in lines:
        fields = line.split(":")
        if len(fields) > 3 and fields[2].isdecimal():
            names.setdefault(int(fields[2]), fields[0])
    return names


def _directory(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
