"""Every colour and glyph of the screens. Rule: colour means that a human is needed, never that something is busy; a
severity is always glyph + word + colour, so it survives NO_COLOR and every kind of eye."""

from dataclasses import dataclass, replace
from enum import IntEnum, auto

from rich.style import Style
from textual.theme import Theme

from agent.wire.signals import Severity
from cockpit.errors import UsageError
from cockpit.inventory import did_you_mean

DEFAULT = "night"


class Ink(IntEnum):
    """What a piece of text means; a theme turns it into a style."""

    TEXT = 0
    STRONG = auto()
    MUTED = auto()
    FAINT = auto()
    AGED = auto()  # a value that is not fresh
    GONE = auto()  # the last value of something that is gone
    ACCENT = auto()
    OK = auto()
    INFO = auto()
    UNKNOWN = auto()
    WARNING = auto()
    CRITICAL = auto()
    ALARM = auto()  # reversed critical: one per screen
    HEADING = auto()
    BAR = auto()  # title and key line
    BAR_STRONG = auto()
    BAR_HERE = auto()
    BAR_WARNING = auto()
    LOAD_0 = auto()  # heat map: quiet shades of how busy, least first
    LOAD_1 = auto()
    LOAD_2 = auto()
    LINE = auto()  # charts
    AREA = auto()
    CURSOR = auto()  # the selected cell of a map


GLYPH = {
    Severity.OK: "·",
    Severity.INFO: "i",
    Severity.UNKNOWN: "?",
    Severity.WARNING: "▲",
    Severity.CRITICAL: "✖",
}
INK = {
    Severity.OK: Ink.FAINT,
    Severity.INFO: Ink.MUTED,
    Severity.UNKNOWN: Ink.UNKNOWN,
    Severity.WARNING: Ink.WARNING,
    Severity.CRITICAL: Ink.CRITICAL,
}
CHECK = "✓"
TOMBSTONE = "†"
HAND = "»"  # what somebody does, or did
CURSOR = "▌"


@dataclass(frozen=True, slots=True)
class Shades:
    """The colours of one theme."""

    background: str
    surface: str
    bar: str
    cursor: str
    text: str
    strong: str
    muted: str
    faint: str
    accent: str
    ok: str
    info: str
    unknown: str
    warning: str
    critical: str
    load: tuple[str, str, str]
    area: str
    dark: bool = True


SHADES: dict[str, Shades] = {
    "night": Shades(
        background="#0f1419",
        surface="#151b22",
        bar="#1a222b",
        cursor="#243447",
        text="#c5cdd6",
        strong="#f2f5f8",
        muted="#8491a0",
        faint="#4d5967",
        accent="#7cb7ff",
        ok="#7fd1a0",
        info="#7cb7ff",
        unknown="#c39bff",
        warning="#f0b429",
        critical="#ff5c57",
        load=("#3d4a58", "#566779", "#74879b"),
        area="#233246",
    ),
    # Okabe and Ito's set: told apart with every common kind of colour vision.
    "clear": Shades(
        background="#101214",
        surface="#17191c",
        bar="#1d2125",
        cursor="#2b3a4a",
        text="#cfd3d7",
        strong="#ffffff",
        muted="#8d949c",
        faint="#565d65",
        accent="#56b4e9",
        ok="#56b4e9",
        info="#56b4e9",
        unknown="#cc79a7",
        warning="#f0e442",
        critical="#ff7a1f",
        load=("#43484e", "#5d646c", "#7d858e"),
        area="#223442",
    ),
    "day": Shades(
        background="#fbfbfa",
        surface="#f2f2ef",
        bar="#e8e9e6",
        cursor="#cfe0f5",
        text="#2b3138",
        strong="#0b0f14",
        muted="#67707a",
        faint="#a3abb3",
        accent="#0a5dc2",
        ok="#1a7f4b",
        info="#0a5dc2",
        unknown="#7a3fc4",
        warning="#935800",
        critical="#c4161c",
        load=("#d3d7da", "#b3bac1", "#8f99a3"),
        area="#d6e3f3",
        dark=False,
    ),
}


def theme_named(name: str) -> str:
    """The theme of this name, the default for an empty one.

    Raises:
        UsageError: there is none; names the nearest.
    """
    if name and name not in SHADES:
        known = list(SHADES)
        raise UsageError(f"there is no theme {name!r}{did_you_mean(name, known)}")
    return name or DEFAULT


def themes() -> list[Theme]:
    """The themes to register with Textual: our shades as its design variables, for inputs, palette and help."""
    return [
        Theme(
            name=name,
            primary=shades.accent,
            secondary=shades.muted,
            accent=shades.accent,
            warning=shades.warning,
            error=shades.critical,
            success=shades.ok,
            foreground=shades.text,
            background=shades.background,
            surface=shades.surface,
            panel=shades.bar,
            dark=shades.dark,
            variables={
                "scrollbar": shades.faint,
                "scrollbar-hover": shades.muted,
                "scrollbar-active": shades.muted,
                "scrollbar-background": shades.background,
                "scrollbar-background-hover": shades.background,
                "scrollbar-background-active": shades.background,
                "scrollbar-corner-color": shades.background,
            },
        )
        for name, shades in SHADES.items()
    ]


class Inks:
    """The styles of one theme, ready for segments: `line[ink]` on the page, `under[ink]` under the cursor. `grey` for
    terminals without colour: what needs a human is then the brightest."""

    def __init__(self, name: str, *, grey: bool = False) -> None:
        shades = SHADES.get(name) or SHADES[DEFAULT]
        if grey:
            loud, plain = shades.strong, shades.text
            shades = replace(shades, critical=loud, warning=loud, unknown=loud, accent=loud, ok=plain, info=plain)
        self.name = name
        self.line = _styles(shades, shades.background)
        self.under = _styles(shades, shades.cursor)


def _styles(shades: Shades, ground: str) -> tuple[Style, ...]:
    def ink(color: str, back: str = ground, *, bold: bool = False, italic: bool = False) -> Style:
        return Style(color=color, bgcolor=back, bold=bold, italic=italic)

    table = {
        Ink.TEXT: ink(shades.text),
        Ink.STRONG: ink(shades.strong, bold=True),
        Ink.MUTED: ink(shades.muted),
        Ink.FAINT: ink(shades.faint),
        Ink.AGED: ink(shades.muted, italic=True),
        Ink.GONE: ink(shades.muted, italic=True),
        Ink.ACCENT: ink(shades.accent),
        Ink.OK: ink(shades.ok),
        Ink.INFO: ink(shades.info),
        Ink.UNKNOWN: ink(shades.unknown, bold=True),
        Ink.WARNING: ink(shades.warning, bold=True),
        Ink.CRITICAL: ink(shades.critical, bold=True),
        Ink.ALARM: Style(color=shades.background, bgcolor=shades.critical, bold=True),
        Ink.HEADING: ink(shades.muted, bold=True),
        Ink.BAR: ink(shades.muted, shades.bar),
        Ink.BAR_STRONG: ink(shades.strong, shades.bar, bold=True),
        Ink.BAR_HERE: Style(color=shades.background, bgcolor=shades.accent, bold=True),
        Ink.BAR_WARNING: ink(shades.warning, shades.bar, bold=True),
        Ink.LOAD_0: ink(shades.load[0]),
        Ink.LOAD_1: ink(shades.load[1]),
        Ink.LOAD_2: ink(shades.load[2]),
        Ink.LINE: ink(shades.accent),
        Ink.AREA: ink(shades.area),
        Ink.CURSOR: Style(color=shades.background, bgcolor=shades.strong, bold=True),
    }
    return tuple(table[item] for item in Ink)
