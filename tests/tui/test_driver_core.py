"""The core of the driver on random screens: what it sends makes a terminal show what was wanted."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import split_graphemes

from cockpit.tui.driver import glyphs
from cockpit.tui.driver.difference import Painter, spans
from cockpit.tui.driver.glyphs import TAIL, Glyphs
from cockpit.tui.driver.pens import Pen, Pens, UnknownSequenceError
from cockpit.tui.driver.picture import Picture
from cockpit.tui.driver.reader import Reader
from tests.tui.emulator import Emulator

WIDTH, HEIGHT = 24, 5
TAME = "abc 012 ·─▁▆✖▲日本"
ODD = ("e\u0301", "👩\u200d🚀", "✈\ufe0f", "🇩🇪", "🙂", "क्षि", "\U00100001")
CODES = ("1", "3", "4", "7", "2;3", "1;31", "38;2;1;2;3", "48;2;9;8;7;1", "38;5;200", "97;44", "9;53")


class Judge:
    """A terminal of 40 lines of code that knows clusters. `width` is how many cells it thinks a cluster takes."""

    def __init__(self, width: Callable[[str, int], int] = lambda cluster, size: size) -> None:
        self.pens, self.pen, self.x, self.y = Pens(), 0, 0, 0
        self.width = width
        self.cells: list[list[tuple[str, Pen]]] = [[("?", Pen())] * WIDTH for _ in range(HEIGHT)]

    def feed(self, text: str) -> None:
        at = 0
        for token in re.finditer(r"\x1b\[([0-9;:]*)([HGCm])|(\r)|([^\x1b\r]+)", text):
            assert token.start() == at, f"unknown bytes before {token.start()}: {text!r}"
            at = token.end()
            codes, final, back, plain = token.groups()
            if final == "m":
                self.pen = self.pens.after(self.pen, codes)
            elif final == "H":
                line, _, column = codes.partition(";")
                self.y, self.x = int(line or 1) - 1, int(column or 1) - 1
            elif final == "G":
                self.x = int(codes or 1) - 1
            elif final == "C":
                self.x += int(codes or 1)
            elif back:
                self.x = 0
            else:
                self.draw(plain)
        assert at == len(text)

    def draw(self, text: str) -> None:
        found, _ = split_graphemes(text)
        for first, last, size in found:
            cluster, pen = text[first:last], self.pens[self.pen]
            wide = self.width(cluster, size)
            row = self.cells[self.y]
            for at in range(wide):
                if self.x + at < WIDTH:
                    row[self.x + at] = (cluster if at == 0 else "", pen)
            self.x = min(WIDTH - 1, self.x + wide)


def wanted(picture: Picture) -> list[list[tuple[str, Pen]]]:
    """What a terminal that agrees with Rich would show."""
    return [
        [("" if cell == TAIL else picture.glyphs.text(cell), picture.pens[ord(pen)]) for cell, pen in zip(*row)]  # noqa: B905
        for row in picture.wanted
    ]


def jump(y: int, x: int) -> str:
    return f"\x1b[{y + 1};{x + 1}H"


pieces = st.tuples(
    st.integers(0, HEIGHT), st.integers(0, WIDTH), st.sampled_from(CODES), st.text(TAME, min_size=1, max_size=WIDTH + 4)
)
odd_pieces = st.tuples(
    st.integers(0, HEIGHT - 1),
    st.integers(0, WIDTH - 1),
    st.sampled_from(CODES),
    st.lists(st.sampled_from([*TAME, *ODD]), min_size=1, max_size=8).map("".join),
)


def drawn(piece: tuple[int, int, str, str]) -> str:
    y, x, codes, text = piece
    return f"{jump(y, x)}\x1b[{codes}m{text}\x1b[0m"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(pieces, min_size=1, max_size=6), min_size=1, max_size=6), st.integers(1, 200))
def test_whatever_is_drawn_and_in_however_small_packets_it_leaves_arrives(frames: list, room: int) -> None:
    picture = Picture(WIDTH, HEIGHT)
    reader, painter, judge = Reader(picture), Painter(picture), Judge()
    for frame in frames:
        assert not reader.feed("".join(drawn(piece) for piece in frame)).odd
        if room % 3:
            text, done = painter.paint(list(picture.waiting), room)
            picture.sent(done)
            judge.feed(text)
    while picture.waiting:
        text, done = painter.paint(list(picture.waiting), room)
        picture.sent(done)
        judge.feed(text)
    assert judge.cells == wanted(picture)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(odd_pieces, min_size=1, max_size=4), min_size=1, max_size=5))
def test_a_terminal_that_counts_odd_glyphs_otherwise_shows_all_others_where_they_belong(frames: list) -> None:
    picture = Picture(WIDTH, HEIGHT)
    reader, painter = Reader(picture), Painter(picture)

    def narrow(cluster: str, size: int) -> int:
        return 1 if size == 2 and picture.glyphs.unsure(picture.glyphs.cells(cluster)) else size

    judge = Judge(narrow)
    for frame in frames:
        reader.feed("".join(drawn(piece) for piece in frame))
        text, done = painter.paint(list(picture.waiting), 10**6)
        picture.sent(done)
        judge.feed(text)
    for y, row in enumerate(picture.wanted):
        for x, (cell, mine) in enumerate(zip(wanted(picture)[y], judge.cells[y], strict=True)):
            before = row[0][x - 1] if row[0][x] == TAIL else row[0][x]
            if not picture.glyphs.unsure(before):
                assert cell == mine, (y, x)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(pieces, min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_real_emulator_agrees(frames: list) -> None:
    picture = Picture(WIDTH, HEIGHT)
    reader, painter = Reader(picture), Painter(picture)
    plain, paced = Emulator(WIDTH, HEIGHT), Emulator(WIDTH, HEIGHT)
    for frame in frames:
        text = "".join(
            drawn((y % HEIGHT, x % (WIDTH - 8), codes, text[:4])) for y, x, codes, text in frame if text[:4].isascii()
        )
        plain.feed(text)
        reader.feed(text)
        sent, done = painter.paint(list(picture.waiting), 10**6)
        picture.sent(done)
        paced.feed(sent)
    assert plain.cells() == paced.cells()


@given(st.lists(st.sampled_from(CODES), max_size=4), st.lists(st.sampled_from(CODES), max_size=4))
def test_the_way_from_one_pen_to_another_leads_there_and_is_no_longer_than_afresh(old: list, new: list) -> None:
    pens = Pens()
    first = second = 0
    for codes in old:
        first = pens.after(first, codes)
    for codes in new:
        second = pens.after(second, codes)
    for start in (first, -1):
        way = pens.way(start, second)
        here = max(0, start)
        if way:
            here = pens.after(here, way.removeprefix("\x1b[").removesuffix("m"))
        assert here == second
        assert len(way) <= len(pens.way(-1, second))


@pytest.mark.parametrize("codes", ["38", "38;5", "38;2;1;2", "38;9;1", "1000", "?25", "38;5;x"])
def test_what_no_pen_can_hold_is_refused(codes: str) -> None:
    with pytest.raises(UnknownSequenceError):
        Pens().after(0, codes)


def test_one_changed_digit_costs_a_few_bytes() -> None:
    picture = Picture(80, 24)
    reader, painter = Reader(picture), Painter(picture)
    line = "\x1b[38;2;1;2;3;48;2;9;9;9m gpu-a01  load \x1b[0m\x1b[1;38;2;200;0;0;48;2;9;9;9m{} %\x1b[0m"
    reader.feed(jump(3, 0) + line.format(57))
    _, done = painter.paint(list(picture.waiting), 10**6)
    picture.sent(done)
    reader.feed(jump(3, 0) + line.format(58))
    text, _ = painter.paint(list(picture.waiting), 10**6)
    assert text.endswith("8")
    assert len(text) <= len("\x1b[24;99H\x1b[1;38;2;200;0;0;48;2;9;9;9m8")


def test_a_frame_that_was_undone_before_it_left_costs_nothing() -> None:
    picture = Picture(80, 24)
    reader, painter = Reader(picture), Painter(picture)
    picture.sent(list(picture.waiting))
    reader.feed(jump(0, 0) + "x")
    reader.feed(jump(0, 0) + " ")
    assert painter.paint(list(picture.waiting), 10**6) == ("", [0])


def test_modes_are_handed_on_and_what_is_unknown_makes_the_picture_unknown() -> None:
    reader = Reader(Picture(10, 2))
    told = reader.feed("\x1b[?25l\x1b]52;c;aGk=\x07\x1b[?2026hhi\x1b[?2026l\x07")
    assert told.controls == ["\x1b[?25l", "\x1b]52;c;aGk=\x07", "\x07"]
    assert not told.odd
    assert reader.picture.wanted[0][0].startswith("hi ")
    assert reader.feed("\x1b[2J").odd
    assert reader.feed("\x1b[?1049h").cleared


def test_a_hyperlink_is_part_of_the_pen_and_is_closed_again() -> None:
    picture = Picture(20, 1)
    reader, painter = Reader(picture), Painter(picture)
    reader.feed(jump(0, 0) + "\x1b]8;id=1;http://x\x1b\\\x1b[4mlink\x1b[0m\x1b]8;;\x1b\\ plain")
    text, _ = painter.paint([0], 10**6)
    assert "\x1b]8;id=1;http://x\x1b\\link" in text
    assert "\x1b]8;;\x1b\\ plain" in text


def test_half_a_wide_glyph_is_never_left_behind() -> None:
    picture = Picture(8, 1)
    reader = Reader(picture)
    reader.feed(jump(0, 0) + "日本日本")
    reader.feed(jump(0, 3) + "x")
    assert picture.wanted[0][0] == f"日{TAIL} x日{TAIL}本{TAIL}"
    reader.feed(jump(0, 7) + "日")
    assert picture.wanted[0][0][-2:] == "  "


def test_spans_cover_whole_glyphs_only() -> None:
    old = ("日\x00ab", "\x00\x00\x00\x00")
    assert spans(old, ("日\x00ab", "\x00\x01\x00\x00")) == [(0, 2)]
    assert spans(old, ("日\x00aX", "\x00\x00\x00\x00")) == [(3, 4)]
    assert spans(old, old) == []


def test_clusters_and_pens_without_end_are_forgotten_and_the_screen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cockpit.tui.driver.pens.MOST", 40)
    monkeypatch.setattr(glyphs, "_LAST", glyphs._FIRST + 80)
    picture = Picture(WIDTH, HEIGHT)
    reader = Reader(picture)
    reader.feed(jump(4, 0) + "\x1b[38;5;7mo\u0308 stays\x1b[0m")
    for number in range(200):
        reader.feed(f"{jump(0, 0)}\x1b[38;2;0;0;{number}me{chr(0x300 + number % 100)}\x1b[0m")
    assert len(picture.pens._pens) <= 41
    row = wanted(picture)[4]
    assert row[0] == ("o\u0308", Pen("38;5;7"))
    assert "".join(cell for cell, _ in row).startswith("o\u0308 stays")


def test_zero_width_text_and_control_characters_move_nothing() -> None:
    assert Glyphs().cells("\u200b\u0301") == ""
    picture = Picture(6, 1)
    assert Reader(picture).feed("a\x00b").odd
