"""PURE. Pens: how a cell is drawn, in the words of SGR. Rule: a pen is a small number, and the shortest way from one to
another is found once; a sequence that says more than colours and attributes is refused, never guessed."""

from typing import NamedTuple

MOST = 20_000  # pens known at once; a screen needs about fifty
_MOST_WAYS = 50_000
_NOTHING = ("", "0")
# An attribute and the code that ends it, as terminals and Rich understand them (21 is a double underline).
_ENDS = {
    "1": "22", "2": "22", "3": "23", "4": "24", "21": "24", "5": "25", "6": "25",
    "7": "27", "8": "28", "9": "29", "51": "54", "52": "54", "53": "55",
}  # fmt: skip
_ENDINGS = frozenset(_ENDS.values())
_FG, _BG = "39", "49"
_FORE = frozenset([str(code) for code in (*range(30, 38), *range(90, 98))] + [_FG])
_BACK = frozenset([str(code) for code in (*range(40, 48), *range(100, 108))] + [_BG])


class UnknownSequenceError(ValueError):
    """A sequence that no pen can hold."""


class Pen(NamedTuple):
    """Foreground and background as SGR parameters, attributes as their codes, a hyperlink as OSC 8 has it."""

    fg: str = _FG
    bg: str = _BG
    attributes: frozenset[str] = frozenset()
    link: str = ""


PLAIN = Pen()


class Pens:
    """All pens seen so far, by number; 0 is the plain one."""

    def __init__(self) -> None:
        self._pens: list[Pen] = [PLAIN]
        self._numbers: dict[Pen, int] = {PLAIN: 0}
        self._after: dict[tuple[int, str], int] = {}
        self._ways: dict[tuple[int, int], str] = {}

    @property
    def full(self) -> bool:
        """Whether it is time to forget pens that nothing is drawn with."""
        return len(self._pens) >= MOST

    def __getitem__(self, number: int) -> Pen:
        return self._pens[number]

    def number(self, pen: Pen) -> int:
        """The number of a pen."""
        found = self._numbers.get(pen)
        if found is None:
            found = self._numbers[pen] = len(self._pens)
            self._pens.append(pen)
        return found

    def after(self, number: int, codes: str) -> int:
        """The pen after an SGR sequence with these parameters.

        Raises:
            UnknownSequenceError: they are no colours and attributes.
        """
        found = self._after.get((number, codes))
        if found is None:
            found = self.number(_applied(self._pens[number], codes))
            self._after[(number, codes)] = found
        return found

    def linked(self, number: int, link: str) -> int:
        """The same pen within a hyperlink, `""` for none."""
        return self.number(self._pens[number]._replace(link=link))

    def way(self, old: int, new: int) -> str:
        """The shortest sequence that turns pen `old` (-1 for nobody knows) into `new`."""
        found = self._ways.get((old, new))
        if found is None:
            if len(self._ways) > _MOST_WAYS:
                self._ways.clear()
            found = self._ways[(old, new)] = _way(self._pens[old] if old >= 0 else None, self._pens[new])
        return found

    def forget(self) -> None:
        """Forget every pen but the plain one: numbers given so far mean nothing any more."""
        self.__init__()  # type: ignore[misc]


def _way(old: Pen | None, new: Pen) -> str:
    afresh = ["0", *_told(PLAIN, new)]
    link = "" if old and old.link == new.link else f"\x1b]8;{new.link or ';'}\x1b\\"
    if old is None:
        return f"\x1b[{';'.join(afresh)}m{link if new.link else ''}"
    codes = _told(old, new)
    if not codes:
        return link
    sequence = min(";".join(codes), ";".join(afresh), key=len)
    return f"\x1b[{'' if sequence == '0' else sequence}m{link}"


def _told(old: Pen, new: Pen) -> list[str]:
    """Parameters that turn one pen into the other without starting afresh."""
    ended = {_ENDS[code.partition(":")[0]] for code in old.attributes - new.attributes}
    kept = {code for code in old.attributes & new.attributes if _ENDS[code.partition(":")[0]] not in ended}
    codes = sorted(ended) + sorted(new.attributes - kept)
    codes += [new.fg] if new.fg != old.fg else []
    return codes + ([new.bg] if new.bg != old.bg else [])


def _applied(pen: Pen, codes: str) -> Pen:
    fg, bg, attributes, link = pen
    parts = codes.split(";")
    at = 0
    while at < len(parts):
        code, at = parts[at], at + 1
        base = code.partition(":")[0]
        if code in _NOTHING:
            fg, bg, attributes = _FG, _BG, frozenset()
        elif base in ("38", "48"):
            color, at = _color(code, parts, at)
            fg, bg = (color, bg) if base == "38" else (fg, color)
        elif code in _FORE:
            fg = code
        elif code in _BACK:
            bg = code
        elif code in _ENDINGS:
            attributes = frozenset(item for item in attributes if _ENDS[item.partition(":")[0]] != code)
        elif base in _ENDS:
            attributes |= {code}
        else:
            raise UnknownSequenceError(codes)
    return Pen(fg, bg, attributes, link)


def _color(code: str, parts: list[str], at: int) -> tuple[str, int]:
    """An extended colour with its parameters, and where the next code begins."""
    if ":" in code:
        return code, at
    more = {"5": 2, "2": 4}.get(parts[at] if at < len(parts) else "", 0)
    taken = parts[at : at + more]
    if not more or len(taken) < more or not all(part.isdecimal() for part in taken):
        raise UnknownSequenceError(";".join(parts))
    return ";".join([code, *taken]), at + more
