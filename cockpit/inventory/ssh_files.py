"""ssh_config as text: read once with every Include, cut into sections the way OpenSSH cuts it, never evaluated here.

A line that cannot be read keeps its complaint and costs only the hosts that reach it. What a section says is not judged
here; who may look at which host is decided by `cockpit.link.ssh_config`.
"""

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cockpit.errors import InventoryError
from cockpit.inventory.regular import read_regular

USER_FILE = "~/.ssh/config"
SYSTEM_FILE = "/etc/ssh/ssh_config"
NONE = "none"
MAX_DEPTH = 16  # of Includes, as OpenSSH
MAX_BYTES = 16 * 1024 * 1024  # of one file: more is no configuration

_BLANK = " \t\r\n"
_WHOLE_LINE = frozenset({"proxycommand", "remotecommand", "localcommand", "knownhostscommand", "match"})
_WILD = re.compile(r"[*?!]")


@dataclass(frozen=True, slots=True)
class Line:
    """One directive. `keyword` in lower case, `written` as it stands there; `error`: why it cannot be used."""

    file: str
    number: int
    keyword: str
    written: str
    args: tuple[str, ...] = ()
    error: str = ""

    @property
    def place(self) -> str:
        """`FILE:LINE`."""
        return f"{self.file}:{self.number}"


@dataclass(slots=True)
class Section:
    """What stands between two `Host` or `Match` lines. `head` is None above the first of them."""

    head: Line | None
    items: "list[Line | tuple[SshFile, ...]]" = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The plain names of a `Host` line; None where anything but a plain name decides."""
        head = self.head
        if head is None or head.keyword != "host" or head.error or any(map(_WILD.search, head.args)):
            return None
        return head.args


@dataclass(slots=True)
class SshFile:
    """One file: its sections in order, by plain name, and those that every host has to look at."""

    path: str
    sections: list[Section] = field(default_factory=list)
    named: dict[str, list[int]] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)

    def index(self) -> None:
        """Sort the sections by who can match them."""
        for number, section in enumerate(self.sections):
            names = section.names
            if names is None:
                self.open.append(number)
            for name in names or ():
                self.named.setdefault(name, []).append(number)

    def candidates(self, host: str) -> list[Section]:
        """The sections that may match this host, in order."""
        mine = self.named.get(host)
        numbers = sorted({*self.open, *mine}) if mine else self.open
        return [self.sections[number] for number in numbers]


@dataclass(slots=True)
class SshFiles:
    """The user's and the system's configuration, the user's first."""

    files: tuple[SshFile, ...] = ()
    stamps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    patterns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    keywords: set[str] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        """Whether a file is another one than when it was read, or an Include would find others."""
        return any(_stamp(path) != stamp for path, stamp in self.stamps.items()) or any(
            tuple(sorted(glob.glob(pattern))) != found for pattern, found in self.patterns.items()
        )

    def names(self) -> tuple[str, ...]:
        """Every host name that stands in full on a `Host` line, in the order of the files."""
        found: dict[str, None] = {}
        for section in _sections(self.files):
            head = section.head
            if head is not None and head.keyword == "host" and not head.error:
                found.update((word, None) for word in head.args if not _WILD.search(word))
        return tuple(found)


def read(choice: str = "") -> SshFiles:
    """The configuration that `ssh` would read: the user's and the system's; only FILE where `choice` names one, as with
    `ssh -F FILE`; nothing with "none".

    Raises:
        InventoryError: the named file is missing or cannot be read, or others may write the user's own.
    """
    found = SshFiles()
    own = Path("~/.ssh").expanduser()
    if choice == NONE:
        return found
    if choice:
        named = Path(choice).expanduser().absolute()
        found.files = (_Reader(found, own, checked=False).file(named, must=True),)
    else:
        found.files = (
            _Reader(found, own, checked=True).file(Path(USER_FILE).expanduser()),
            _Reader(found, Path(SYSTEM_FILE).parent, checked=False).file(Path(SYSTEM_FILE)),
        )
    return found


def split_words(text: str) -> tuple[str, ...]:
    """Words as OpenSSH cuts them: blanks part, quotes hold together, `#` ends the line.

    Raises:
        ValueError: a quote is not closed.
    """
    words: list[str] = []
    at, end = 0, len(text)
    while at < end:
        if text[at] in " \t":
            at += 1
        elif text[at] == "#":
            break
        else:
            word, at = _word(text, at)
            words.append(word)
    return tuple(words)


def _word(text: str, at: int) -> tuple[str, int]:
    word, quote = "", ""
    while at < len(text):
        char = text[at]
        after = text[at + 1 : at + 2]
        if char == "\\" and after and (after in "'\"\\" or (after == " " and not quote)):
            word, at = word + after, at + 1
        elif not quote and char in " \t":
            break
        elif not quote and char in "'\"":
            quote = char
        elif quote and char == quote:
            quote = ""
        else:
            word += char
        at += 1
    if quote:
        raise ValueError("a quote is not closed")
    return word, at


class _Reader:
    """Reads a file and what it includes; relative Includes start at `folder`. `checked`: nobody else may write them."""

    def __init__(self, found: SshFiles, folder: Path, *, checked: bool) -> None:
        self.found = found
        self.folder = folder
        self.checked = checked

    def file(self, path: Path, *, must: bool = False, depth: int = 0) -> SshFile:
        """One file; empty where there is none and none is needed."""
        file = SshFile(str(path))
        self.found.stamps[str(path)] = _stamp(str(path))
        try:
            text = self._text(path)
        except FileNotFoundError:
            if must:
                raise InventoryError(f"{path}: there is no such ssh_config; --ssh-config FILE|none chooses") from None
            return file
        except OSError as error:
            if depth:
                file.sections.append(Section(None, [_broken(path, f"cannot be read: {error.strerror or error}")]))
                file.index()
                return file
            says = f"{path}: cannot be read: {error.strerror or error}; mend it, or choose with --ssh-config FILE|none"
            raise InventoryError(says) from None
        section = Section(None)
        file.sections.append(section)
        for number, raw in enumerate(text.split("\n"), 1):
            line = parse_line(str(path), number, raw)
            if line is None:
                continue
            self.found.keywords.add(line.keyword)
            if line.keyword in ("host", "match"):
                section = Section(line)
                file.sections.append(section)
            elif line.keyword == "include" and not line.error:
                section.items.append(self._included(line, depth))
            else:
                section.items.append(line)
        file.index()
        return file

    def _included(self, line: Line, depth: int) -> "Line | tuple[SshFile, ...]":
        if depth >= MAX_DEPTH:
            says = f"Include: more than {MAX_DEPTH} files deep; does it include itself?"
            return Line(line.file, line.number, line.keyword, line.written, error=says)
        files: list[SshFile] = []
        for word in line.args:
            pattern = str(self.folder / os.path.expanduser(word))
            names = tuple(sorted(glob.glob(pattern)))
            self.found.patterns[pattern] = names
            files += [self.file(Path(name), depth=depth + 1) for name in names]
        return tuple(files)

    def _text(self, path: Path) -> str:
        raw = read_regular(path, MAX_BYTES)
        status = os.stat(path)
        if self.checked and (status.st_uid not in (0, os.getuid()) or status.st_mode & 0o022):
            raise InventoryError(
                f"{path}: others may write it, so ssh would not use it either; try: chmod go-w {path}, "
                f"and look who owns it: ls -l {path}"
            )
        return raw.decode("utf-8", "surrogateescape")


def parse_line(file: str, number: int, raw: str) -> Line | None:
    """One line of a file; None where nothing stands there."""
    text = raw.rstrip(_BLANK + "\f")
    written, rest = _keyword(text.lstrip(_BLANK))
    if not written or written.startswith("#"):
        return None
    keyword = written.lower()
    if not rest:
        return Line(file, number, keyword, written, error=f"{written} has no value")
    if keyword in _WHOLE_LINE:
        return Line(file, number, keyword, written, (rest.lstrip("= \t"),) if keyword != "match" else (rest,))
    try:
        words = split_words(rest)
    except ValueError as error:
        return Line(file, number, keyword, written, error=f"{written}: {error}")
    if not words:
        return Line(file, number, keyword, written, error=f"{written} has no value")
    return Line(file, number, keyword, written, words)


def _keyword(text: str) -> tuple[str, str]:
    """The first word, ended by a blank or one `=`; and what follows."""
    if text.startswith('"'):
        word, _, rest = text[1:].partition('"')
        return word, rest.lstrip(_BLANK)
    match = re.match(r"([^\s=]*)([ \t]*=?[ \t]*)(.*)", text, re.DOTALL)
    return (match[1], match[3]) if match else ("", "")


def _sections(files: tuple[SshFile, ...]) -> Iterator[Section]:
    for file in files:
        for section in file.sections:
            yield section
            for item in section.items:
                if isinstance(item, tuple):
                    yield from _sections(item)


def _broken(path: Path, says: str) -> Line:
    return Line(str(path), 1, "include", "Include", error=says)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)
