"""The window that brings home what a run collected. Rule: names come from other machines and become one plain file name
each, inside one folder; a part that breaks off leaves nothing that looks whole."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from cockpit.errors import CockpitError
from cockpit.runbook.records import RunView
from cockpit.runtime.hands import Hands
from cockpit.tui.acting.run_lines import bar
from cockpit.tui.acting.screens.parts import ActField, Key, Part, Window, keys_line
from cockpit.tui.format import plain, plural, size
from cockpit.tui.lines import Line, wrapped
from cockpit.tui.speech import Field
from cockpit.tui.theme import CHECK, Ink
from cockpit.tui.view import View

Collected = tuple[str, str, str, int]  # host, key, part, bytes
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS = 120


def file_name(host: str, key: str, part: str) -> str:
    """One plain file name for a part: no folder, nothing hidden, nothing that a shell would read."""
    name = _UNSAFE.sub("-", f"{host}-{key}-{part}").strip(".-")
    return name[-_NAME_CHARS:].lstrip(".-") or "part"


class Fetching(Window[None]):
    """Asks where to, then says how far it is, and where everything lies."""

    BINDINGS: ClassVar = [Binding("enter", "fetch", "fetch", show=False, id="fetch.begin")]
    widest = 84

    def __init__(self, view: View, hands: Hands, run: RunView, parts: Sequence[Collected]) -> None:
        super().__init__(view)
        self.hands_of_fleet = hands
        self.parts = list(parts)
        self.wrong = ""
        self.had = 0
        self.total = sum(part[3] for part in self.parts)
        self.done: list[str] = []
        self._busy = False
        self.folder = ActField(Field("folder", "a folder on this machine", f"bundle-{plain(run.id)}"))
        self.head = Part(view, self._head, self.inside, id="act-head")
        self.foot = Part(view, self._foot, self.inside, id="act-foot")

    def compose(self) -> ComposeResult:
        """What, where to, how far."""
        with Vertical(classes="window"):
            yield self.head
            with Horizontal():
                yield Static("folder", markup=False)
                yield self.folder
            yield self.foot

    def on_mount(self) -> None:
        """Into the field."""
        self.head.add_class("gap")
        self.foot.add_class("rise")
        self.draw()
        self.folder.focus()
        self.set_interval(0.25, self.draw)

    def draw(self) -> None:
        """All lines anew."""
        self.query_one(".window").styles.width = self.outer
        for part in (self.head, self.foot):
            part.fit()

    def _head(self, width: int) -> list[Line]:
        about = f"{plural(len(self.parts), 'part')}, {size(float(self.total))}"
        return [
            (("FETCH  ", Ink.HEADING), (about, Ink.STRONG)),
            (("secrets were taken out where it was collected", Ink.MUTED),),
        ]

    def _foot(self, width: int) -> list[Line]:
        lines: list[Line] = []
        if self._busy:
            share = self.had / self.total if self.total else 0.0
            lines = [((bar(share), Ink.ACCENT), (f" {size(float(self.had))} of {size(float(self.total))}", Ink.TEXT))]
        if self.done:
            where = str(Path(self.done[0]).parent)
            said = f"{CHECK} {plural(len(self.done), 'file')} in {plain(where)}"
            lines += [((part, Ink.OK),) for part in wrapped(said, width, 3)]
        if self.wrong:
            lines += [((part, Ink.CRITICAL),) for part in wrapped(f"✖ {plain(self.wrong)}", width, 4)]
        keys: list[Key] = [] if self._busy or len(self.done) == len(self.parts) else [("enter", "fetches")]
        return [*lines, keys_line([*keys, ("esc", "closes")])]

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Enter in the field."""
        event.stop()
        self.action_fetch()

    def action_fetch(self) -> None:
        """Begin, once; what failed may be tried again."""
        if self._busy or not self.folder.value.strip():
            return
        self._busy, self.wrong, self.had, self.done = True, "", 0, []
        self.draw()
        self.run_worker(self._fetch(Path(self.folder.value.strip()).expanduser()), group="fetch", exclusive=True)

    async def _fetch(self, folder: Path) -> None:
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
            for part in self.parts:
                await self._one(folder, part)
        except CockpitError as error:
            self.wrong = str(error)
        except OSError as error:
            self.wrong = f"{folder}: {error.strerror or error}"
        finally:
            self._busy = False
            self.draw()

    async def _one(self, folder: Path, part: Collected) -> None:
        name, key, what, _ = part
        host = self.view.fleet.numbers.get(name, -1)
        target = folder / file_name(name, key, what)
        broken = target.with_suffix(target.suffix + ".part")
        before = self.had

        def told(had: int, total: int) -> None:
            self.had = before + had

        try:
            with broken.open("wb") as file:

                def keep(data: bytes) -> None:
                    file.write(data)

                await self.hands_of_fleet.fetch(host, key, what, keep, told)
            broken.replace(target)
        except BaseException:
            broken.unlink(missing_ok=True)
            raise
        self.done.append(str(target))
