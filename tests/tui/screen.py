"""What a screen shows, as text. The only file that touches Textual's private compositor: an upgrade of Textual is one
edit here."""

import io
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from textual.app import App
from textual.pilot import Pilot

from cockpit.tui.app import CockpitApp
from cockpit.tui.screens.place import Place
from tests.tui.stage import StagedFeed

GOLDENS = Path(__file__).parents[1] / "goldens" / "tui"
HOW = "look at it, and if it is right run: UPDATE_GOLDENS=1 .venv/bin/pytest tests/tui"


def screen_text(app: App[object]) -> str:
    """The terminal's characters, line by line, blanks at line ends cut off."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def terminal_text(app: App[object]) -> str:
    """The same with what shines through from behind a window on top."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), record=True, color_system=None)
    stack = app._background_screens
    console.print(app.screen._compositor.render_update(full=True, screen_stack=stack))
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


def widget_count(app: App[object]) -> int:
    """Widgets of the screen on top, the screen itself included."""
    return sum(1 for _ in app.screen.walk_children(with_self=True))


@asynccontextmanager
async def running(
    feed: StagedFeed, size: tuple[int, int] = (80, 24), **options: object
) -> AsyncIterator[tuple[CockpitApp, Pilot[None]]]:
    """The app on a fleet that stands still, settled."""
    app = CockpitApp(feed, **options)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield app, pilot


async def settle(pilot: Pilot[None]) -> None:
    """Let messages and refreshes run out, then paint once more: the second paint knows the shared-out heights."""
    await pilot.pause()
    for _ in range(2):
        screen = pilot.app.screen
        if isinstance(screen, Place):
            screen.tick(force=True)
        await pilot.pause(0)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one after the other and let the screen settle."""
    await pilot.press(*keys)
    await settle(pilot)


def compare(name: str, text: str) -> None:
    """Compare with the golden of this name, or write it with UPDATE_GOLDENS=1."""
    path = GOLDENS / name
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return
    assert path.exists(), f"there is no golden {name}; {HOW}"
    assert text == path.read_text("utf-8"), f"{name} differs; {HOW}"


def portable_svg(svg: str) -> str:
    """An exported picture without what differs between machines and versions: fonts and random ids."""
    svg = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"terminal-\d+", "terminal", svg)


def lines_with(text: str, words: Sequence[str]) -> list[str]:
    """Lines that hold all words."""
    return [line for line in text.splitlines() if all(word in line for word in words)]
