"""Patterns over the names that ssh_config knows: which hosts `gpu-*` means. Reads nothing without a pattern."""

import fnmatch
import re
from collections.abc import Iterable, Sequence

from cockpit.errors import InventoryError
from cockpit.inventory.ssh_files import NONE, SYSTEM_FILE, USER_FILE, read

_PATTERN = re.compile(r"(?P<before>(?:ssh://)?(?:[^@/]+@)?)(?P<name>[^@/:\[\]]+)(?P<after>(?::[0-9]+)?/?)")


def is_pattern(text: str) -> bool:
    """Whether this means several hosts, or takes some away."""
    return text.startswith("!") or ("*" in text or "?" in text)


class SshNames:
    """The host names that stand in full in ssh_config, read when first asked for. `choice`: as `ssh -F`."""

    def __init__(self, choice: str = "") -> None:
        self.choice = choice
        self._names: tuple[str, ...] | None = None

    @property
    def where(self) -> str:
        """What was read, for sentences."""
        if self.choice == NONE:
            return "ssh_config, which is not to be read (none)"
        return self.choice or f"{USER_FILE} and {SYSTEM_FILE}"

    def names(self) -> tuple[str, ...]:
        """All of them, in the order of the files.

        Raises:
            InventoryError: the configuration cannot be read.
        """
        if self._names is None:
            self._names = read(self.choice).names()
        return self._names


def expand(words: Iterable[str], names: Sequence[str], where: str) -> list[str]:
    """The words with each pattern replaced by the names it means, in their order; `!PATTERN` takes names away from all
    patterns. A pattern may carry a user and a port: `me@gpu-*:2222`.

    Raises:
        InventoryError: a pattern means nobody.
    """
    given = list(words)
    without = [word[1:] for word in given if word.startswith("!")]
    wanted = [word for word in given if not word.startswith("!")]
    if without and not any(map(is_pattern, wanted)):
        raise InventoryError(f"{'!' + without[0]!r} takes hosts away, but no pattern names any; add one like 'gpu-*'")
    found: list[str] = []
    for word in wanted:
        found += _meant(word, without, names, where) if is_pattern(word) else [word]
    return list(dict.fromkeys(found))


def _meant(word: str, without: Sequence[str], names: Sequence[str], where: str) -> list[str]:
    parts = _PATTERN.fullmatch(word)
    if parts is None:
        raise InventoryError(f"pattern {word!r}: use [user@]PATTERN[:port] with * and ?")
    matching = [name for name in names if _matches(name, parts["name"])]
    left = [name for name in matching if not any(_matches(name, pattern) for pattern in without)]
    if not left:
        taken = f" but for those taken away ({', '.join(matching[:3])})" if matching else ""
        raise InventoryError(f"pattern {word!r} means no host of {where}{taken}{_nearest(parts['name'], names)}")
    return [f"{parts['before']}{name}{parts['after']}" for name in left]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _nearest(pattern: str, names: Sequence[str]) -> str:
    from cockpit.inventory.hosts import did_you_mean

    if not names:
        return "; it names no host in full"
    return did_you_mean(pattern.strip("*?") or pattern, names)
