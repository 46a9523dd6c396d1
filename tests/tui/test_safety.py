"""What must never happen on a screen: spoofed text, a failure that takes others along, meaning that is colour alone."""

import asyncio
import io
import random
from collections.abc import Iterator, Sequence

import pytest
from rich.color import Color

from agent.wire.specs import Severity
from cockpit.errors import TerminalError, UsageError
from cockpit.fleet.link_state import LinkState
from cockpit.tui import check_terminal, run_tui
from cockpit.tui.app import CockpitApp
from cockpit.tui.format import plain
from cockpit.tui.screens import SCREENS
from cockpit.tui.screens.place import Place
from cockpit.tui.theme import GLYPH, INK, SHADES, Ink, Inks
from cockpit.tui.widgets.heatmap import HeatMap
from tests.tui.acting_stage import Acting
from tests.tui.screen import press, running, screen_text, settle
from tests.tui.stage import Stage, StagedFeed

HOSTILE = (
    "[bold red]ok[/bold red]",
    "[/]",
    "a[link=file:///etc/passwd]b",
    "x" * 200,
    "ノード-01",
    "[$error]",
    "\x1b[2J",
)


async def test_hostile_names_are_shown_as_they_are_on_every_screen() -> None:
    stage = Stage(hosts=len(HOSTILE), gpus=2, names=[plain(name) for name in HOSTILE])
    stage.live(seconds=3)
    stage.drop(stage.hosts[0], 1)
    async with running(stage.feed, (120, 40)) as (app, pilot):
        for keys in (("1",), ("2",), ("3",), ("8",), ("9",), ("2", "enter"), ("escape", "3", "enter"), ("e",)):
            await press(pilot, *keys)
            text = screen_text(app)
            assert "cannot be" not in text
            assert "\x1b" not in text
            assert all(len(line) <= 120 for line in text.splitlines())
        await press(pilot, "escape", "escape", "1")
        assert "[bold red]ok[/bold" in screen_text(app)


async def test_hostile_names_in_the_palette_are_no_markup() -> None:
    stage = Stage(hosts=2, gpus=1, names=["[bold]x[/nope]", "[/]"])
    stage.live(seconds=2)
    async with running(stage.feed, (120, 40)) as (app, pilot):
        await press(pilot, "colon")
        await pilot.press(*"nope")
        await pilot.pause(0.05)
        assert "[bold]x[/nope]" in screen_text(app)


async def test_a_view_that_fails_says_so_and_the_others_go_on(
    fault: StagedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: HeatMap) -> None:
        raise RuntimeError("no such pool")

    monkeypatch.setattr(HeatMap, "prepare", broken)
    async with running(fault) as (app, pilot):
        text = screen_text(app)
        assert "HeatMap cannot be drawn: RuntimeError: no such pool" in text
        assert "gpu-a03 GPU 5" in text
        assert "EVENTS" in text
        await press(pilot, "3")
        assert "✖ lost" in screen_text(app)


async def test_a_screen_that_cannot_be_built_says_so_and_the_others_go_on(
    fault: StagedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cockpit.tui.screens.processes import Processes

    def broken(self: Place) -> None:
        raise RuntimeError("no rows")

    monkeypatch.setattr(Processes, "body", broken)
    async with running(fault) as (app, pilot):
        await press(pilot, "9")
        assert "Processes cannot be shown: RuntimeError: no rows" in screen_text(app)
        await press(pilot, "2")
        assert "gpu-a03" in screen_text(app)


async def test_a_feed_that_stops_is_said_in_the_title() -> None:
    stage = Stage(hosts=1)
    stage.live(seconds=3)
    stage.feed.fails = RuntimeError("out of files")
    async with running(stage.feed, (120, 40)) as (app, pilot):
        await pilot.pause(0.02)
        await settle(pilot)
        assert "the feed stopped: RuntimeError" in screen_text(app).splitlines()[0]


async def test_the_feed_starts_once_and_after_the_first_paint(fault: StagedFeed) -> None:
    before = fault.runs
    async with running(fault) as (_, pilot):
        await settle(pilot)
        assert fault.runs == before + 1


async def test_without_colour_every_severity_and_the_cursor_can_still_be_read(
    fault: StagedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(fault) as (app, pilot):
        assert app.no_color
        text = screen_text(app)
        assert "✖ CRITICAL" in text
        assert "▌" in text
        for strip in app.screen._compositor.render_strips():
            for segment in strip.apply_filter(app._filters[-1], app.background_colors[1]):
                for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    assert color is None or len(set(color.get_truecolor())) == 1
        await press(pilot, "3")
        assert "✖ lost" in screen_text(app)


def test_each_severity_has_its_own_glyph_and_loud_ones_their_own_colour() -> None:
    assert len(set(GLYPH.values())) == len(Severity)
    loud = [INK[severity] for severity in Severity if severity >= Severity.UNKNOWN]
    assert len(set(loud)) == len(loud)
    for name in SHADES:
        inks = Inks(name)
        colors = {inks.line[ink].color for ink in loud}
        assert len(colors) == len(loud)


@pytest.mark.parametrize("name", sorted(SHADES))
def test_text_is_readable_on_its_background(name: str) -> None:
    """WCAG contrast: 4.5 for what must be read, 3 for what is repeated elsewhere."""
    shades = SHADES[name]
    for color, least in (
        (shades.text, 7.0), (shades.strong, 7.0), (shades.muted, 4.5), (shades.critical, 4.5),
        (shades.warning, 4.5), (shades.unknown, 4.5), (shades.accent, 4.5), (shades.faint, 2.2),
    ):  # fmt: skip
        assert _contrast(color, shades.background) >= least, color


def _contrast(first: str, second: str) -> float:
    a, b = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def _luminance(color: str) -> float:
    parts = [value / 255 for value in Color.parse(color).get_truecolor()]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_inks_are_complete() -> None:
    for name in SHADES:
        assert len(Inks(name).line) == len(Ink)


def test_a_theme_that_is_not_there_is_one_sentence(fault: StagedFeed) -> None:
    with pytest.raises(UsageError, match="there is no theme 'nihgt'; did you mean 'night'"):
        CockpitApp(fault, theme="nihgt")


def test_where_to_start_is_checked_before_anything_is_painted(fault: StagedFeed) -> None:
    with pytest.raises(UsageError, match="did you mean 'gpu-a03'"):
        CockpitApp(fault, open_at="gpu-a3")
    with pytest.raises(UsageError, match="is no GPU index"):
        CockpitApp(fault, open_at="gpu-a03:x")


@pytest.mark.parametrize(
    ("start", "expected"),
    [("hosts", "2 Hosts"), ("gpu-a03", "7 of 8 GPUs present"), ("gpu-a03:5", "gpu-a03 GPU 5  ✖ LOST")],
)
async def test_the_console_opens_where_it_was_asked_to(start: str, expected: str, fault: StagedFeed) -> None:
    async with running(fault, open_at=start) as (app, pilot):
        await settle(pilot)
        assert expected in screen_text(app)


async def test_a_gpu_that_is_asked_for_before_its_host_answers_is_opened_when_it_does() -> None:
    stage = Stage(hosts=1)
    async with running(stage.feed, open_at="gpu-a01:5") as (app, pilot):
        assert "gpu-a01" in screen_text(app)
        assert "GPU 5" not in screen_text(app)
        stage.live(seconds=3)
        async with asyncio.timeout(5):
            while "gpu-a01 GPU 5  · ok" not in screen_text(app):
                await pilot.pause(0.05)


async def test_a_gpu_that_is_not_there_leaves_the_page_of_its_host() -> None:
    stage = Stage(hosts=1)
    stage.live(seconds=3)
    async with running(stage.feed, open_at="gpu-a01:55") as (app, pilot):
        await settle(pilot)
        assert "8 of 8 GPUs present" in screen_text(app)
        assert [note.message for note in app._notifications] == ["This host has no GPU 55."]


def test_without_a_terminal_there_is_one_sentence_and_exit_2(
    fault: StagedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TerminalError, match="need a terminal") as raised:
        run_tui(fault)
    assert raised.value.exit_code == 2
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(TerminalError, match="drawn on standard error; leave its redirection"):
        check_terminal()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.fileno", lambda: 1, raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda fd: __import__("os").terminal_size((79, 24)))
    with pytest.raises(TerminalError, match="79x24 characters and the screens need 80x24"):
        check_terminal()
    monkeypatch.setattr("os.get_terminal_size", lambda fd: __import__("os").terminal_size((0, 0)))
    with pytest.raises(TerminalError, match="does not say how large it is; try `stty rows 24 cols 80`"):
        check_terminal()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "latin-1"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(TerminalError, match="need a UTF-8 terminal and this one is set to latin-1; try LC_ALL"):
        check_terminal()
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(TerminalError, match="TERM=dumb says that this terminal cannot move its cursor"):
        check_terminal()


async def test_a_changed_host_key_is_shown_as_a_security_event_in_80_columns() -> None:
    stage = Stage(hosts=3, gpus=2)
    feed = stage.live(seconds=3)
    name = stage.hosts[1].name
    says = f"{name} (root@10.77.2.11:2222): SECURITY: the host key has CHANGED; it shows ssh-ed25519 SHA256:RHOBrLe3"
    stage.link(stage.hosts[1], LinkState.KEY_CHANGED, says)
    async with running(feed, (80, 24)) as (app, pilot):
        await settle(pilot)
        situation = screen_text(app)
        assert "SECURITY: host key changed" in situation
        assert "link        SECURITY: the host key has CHANGED" in situation
        await press(pilot, "2")
        assert "SECURITY: the host" in screen_text(app)
        await press(pilot, "8")
        assert "SECURITY: " in screen_text(app)


# Nothing is started but by a plan that was shown and the word that it asks for.

KEYS = (
    *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "space", "enter", "tab", "down", "up", "left", "right", "home", "end", "pageup", "pagedown", "backspace", "delete",
    "slash", "exclamation_mark", "at", "minus", "plus", "comma", "full_stop", "left_square_bracket",
    "right_square_bracket", "less_than_sign", "greater_than_sign", "ctrl+d", "ctrl+l", "ctrl+r", "ctrl+w", "ctrl+u",
)  # fmt: skip
LEADERS = {spec.key: () for spec in SCREENS} | {
    "2 enter": ("2", "enter"), "3 enter": ("3", "enter"), "4 enter": ("4", "enter"), "5 enter": ("5", "enter"),
}  # fmt: skip


def _still(acting: Acting) -> None:
    assert [said for said in acting.hands.said if said[0] != "draft"] == []


async def _each_key(acting: Acting, place: tuple[str, ...], depth: tuple[str, ...], keys: Sequence[str]) -> None:
    """Each of these keys where `place` and then `depth` lead, from a fresh start each time."""
    async with running(acting.feed, (80, 24)) as (app, pilot):
        await pilot.press(*place)
        base = len(app.screen_stack)
        for key in keys:
            await pilot.press(*depth)
            acting.feed.clock.at += 1.0  # not typed ahead
            await pilot.press(key)
            _still(acting)
            app._exit = False
            while len(app.screen_stack) > base:
                app.pop_screen()
            await pilot.press(*place[:1])
            await pilot.press(*place[1:])


@pytest.fixture
def acting(wedged: StagedFeed) -> Iterator[Acting]:
    before = wedged.clock.at
    yield Acting(wedged)
    wedged.clock.at, wedged.hands = before, None


@pytest.mark.parametrize("depth", [("x",), ("x", "enter")], ids=["menu", "plan"])
async def test_no_key_of_the_menu_or_of_a_plan_that_asks_for_a_word_starts_anything(
    acting: Acting, depth: tuple[str, ...]
) -> None:
    await _each_key(acting, ("4",), depth, ("y", "Y", "enter", "space", "tab", "down", "r", "c", "x", "n", "right"))
    assert acting.hands.said


@pytest.mark.more
@pytest.mark.parametrize("depth", [(), ("x",), ("x", "enter")], ids=["place", "menu", "plan"])
@pytest.mark.parametrize("place", sorted(LEADERS))
async def test_no_key_alone_starts_anything_from_any_place_or_page(
    place: str, depth: tuple[str, ...], acting: Acting
) -> None:
    await _each_key(acting, LEADERS[place] or (place,), depth, KEYS)


@pytest.mark.more
@pytest.mark.parametrize("seed", range(12))
async def test_no_sequence_of_keys_without_the_word_starts_anything(seed: int, acting: Acting) -> None:
    """A cat on the keyboard: everything but the letters that could spell a word of confirmation."""
    keys = [key for key in KEYS if key not in tuple("yes")]
    chosen = random.Random(seed)
    async with running(acting.feed, (80, 24)) as (app, pilot):
        for _ in range(250):
            acting.feed.clock.at += chosen.choice((0.0, 0.2, 1.0))
            await pilot.press("x" if chosen.random() < 0.15 else chosen.choice(keys))
            app._exit = False
        _still(acting)
