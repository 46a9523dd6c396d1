"""Textual's driver for Linux with our output. Rule: this is the one module that knows how Textual's driver works inside
(`tests/tui/test_driver_textual.py` fails when that changes), and nothing in it waits for the terminal, but for a moment
on the way out. Input stays Textual's.
"""

import os
import signal
import threading
from typing import Any

from textual import events, messages
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from cockpit.tui.driver.outlet import opened
from cockpit.tui.driver.output import Output
from cockpit.tui.driver.pacing import Query, State
from cockpit.tui.driver.pump import Pump

LEAVE_S = 0.5  # real seconds that a terminal has to take the way out, or to send the replies that it owes
_HANDS = (events.Key, events.Paste, events.MouseDown, events.MouseUp, events.MouseScrollDown, events.MouseScrollUp)
_REPLIES = {events.CursorPosition: Query.CURSOR, messages.TerminalSupportsSynchronizedOutput: Query.SYNC}
_RESET = "\x1b[0m"
_ALTERNATE = "\x1b[?1049h"


class PacedDriver(LinuxDriver):
    """Use as `App(driver_class=PacedDriver)`. An app with an attribute `output` finds there how the line is."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        output = getattr(app, "output", None)
        self._pump = Pump(*super()._get_terminal_size(), self._loop, output if isinstance(output, Output) else Output())
        self._reshaped = False
        self._leaving = False
        self._deaf = False  # whether replies were owed when we left
        self._thread = threading.get_ident()
        self._heard = dict.fromkeys(Query, 0)  # replies that the input thread took
        self._counted = dict.fromkeys(Query, 0)  # and those of them that the loop knows of
        self._hear = threading.Condition()
        self._sigterm: Any = None

    # What Textual writes.

    def write(self, data: str) -> None:
        """Take what Textual would write; never waits."""
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.write, data)  # its input thread sets modes
            return
        if self._reshaped:
            self._reshaped = False
            self._pump.resize(*super()._get_terminal_size())
        if self._pump.take(data):
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """A frame is complete."""
        if threading.get_ident() == self._thread and not self._leaving:
            self._pump.push()

    def _get_terminal_size(self) -> tuple[int, int]:
        """Textual asks when the terminal has another size: what it made of the old picture is unknown."""
        self._reshaped = True
        return super()._get_terminal_size()

    # What the terminal says.

    def process_message(self, message: Message) -> None:
        """Replies are ours, the rest is Textual's. Runs in its input thread."""
        if isinstance(message, _HANDS):
            self._pump.hands_at = self._loop.time()
        query = _REPLIES.get(type(message))
        if query is None:
            super().process_message(message)
            return
        with self._hear:
            self._heard[query] += 1
            self._hear.notify_all()
        self._loop.call_soon_threadsafe(self._replied, self._loop.time(), query)

    def _replied(self, at: float, query: Query) -> None:
        self._counted[query] += 1
        if not self._leaving:
            self._pump.replied(at, query)

    def _hear_out(self) -> None:
        """Wait a moment for the replies that are owed: after us they would be typed into the shell. Where none comes,
        the queries are taken back."""
        query = self._pump.pacer.query or Query.CURSOR
        owed = self._pump.pacer.owed(query)
        self._deaf = self._pump.pacer.state is State.BLIND
        if owed and self._pump.outlet is not None and not self._pump.stuck:
            with self._hear:
                enough = self._counted[query] + owed
                self._deaf = not self._hear.wait_for(lambda: self._heard[query] >= enough, LEAVE_S)

    # Coming and going.

    def start_application_mode(self) -> None:
        """Take the terminal."""
        self._leaving = self._deaf = False
        self._pump.controls.clear()
        self._pump.pacer.reset()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if _ALTERNATE not in self._pump.controls:
            return  # in the background: Textual tries again when we are continued
        if self._writer_thread is not None:
            self._writer_thread.stop()  # Textual's way to the terminal, which may block
            self._writer_thread = None
        assert self._file is not None
        self._pump.outlet = opened(self._file.fileno(), self._loop, self.flush)
        self._pump.controls.append(Query.CURSOR.value)
        self._pump.asked(Query.CURSOR)
        self._sigterm = signal.signal(signal.SIGTERM, self._terminate)
        self.flush()

    def disable_input(self) -> None:
        """No keys any more, and no replies."""
        self._leaving = True
        self._disable_mouse_support()
        if self._pump.outlet is not None and not self._pump.stuck:
            self._pump.emit("".join(self._pump.controls))  # and again with the way out, should this be cut off
        self._hear_out()
        super().disable_input()

    def stop_application_mode(self) -> None:
        """Give the terminal back, whether or not it reads."""
        self._leaving = True
        self._pump.controls.append(_RESET)
        super().stop_application_mode()
        outlet, self._pump.outlet = self._pump.outlet, None
        if outlet is not None:
            outlet.finish("".join(self._pump.controls).encode(), LEAVE_S, afresh=self._deaf)
            signal.signal(signal.SIGTERM, self._sigterm)
        self._pump.controls.clear()
        self._pump.tell()

    def _terminate(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._terminated)

    def _terminated(self) -> None:
        self._app.exit(return_code=128 + signal.SIGTERM)

    def _sigtstp_application(self, *_: object) -> None:
        """Stop, but between two turns of the loop: a signal may come in the middle of a frame."""
        if self._auto_restart:
            self._loop.call_soon_threadsafe(self._suspend)
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _suspend(self) -> None:
        if self._pump.outlet is not None:
            self.suspend_application_mode()
            self._must_signal_resume = True
        os.kill(os.getpid(), signal.SIGSTOP)

    def _sigcont_application(self, *_: object) -> None:
        """Go on."""
        if self._auto_restart:
            self._loop.call_soon_threadsafe(self._continue)

    def _continue(self) -> None:
        if self._pump.outlet is not None:  # stopped without a word, and who had the terminal meanwhile is unknown
            self.suspend_application_mode()
        self.resume_application_mode()
