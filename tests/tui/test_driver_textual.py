"""What `cockpit.tui.driver.paced` assumes of Textual's own driver. A failure here means: read Textual's changes to
`drivers/linux_driver.py` and `_xterm_parser.py` and go through `paced.py` again."""

import inspect
import re

import pytest
import textual
from textual import events, messages
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from cockpit.tui.driver.paced import PacedDriver


def source(name: str) -> str:
    return inspect.getsource(getattr(LinuxDriver, name))


def test_it_is_the_release_that_was_read() -> None:
    assert textual.__version__.startswith("8.2.")


@pytest.mark.parametrize(
    "name",
    ["write", "flush", "process_message", "start_application_mode", "stop_application_mode", "disable_input",
     "_get_terminal_size", "_sigtstp_application", "_sigcont_application"],
)  # fmt: skip
def test_what_is_overridden_is_there(name: str) -> None:
    assert name in vars(PacedDriver)
    assert callable(getattr(LinuxDriver, name))


def test_everything_is_written_through_write() -> None:
    text = inspect.getsource(linux_driver)
    assert "self._writer_thread.write(data)" in source("write")
    assert text.count("_writer_thread.write(") == 1
    assert "_file.write" not in text
    assert "os.write" not in text


def test_the_terminal_is_taken_and_given_back_as_assumed() -> None:
    start, stop = source("start_application_mode"), source("stop_application_mode")
    assert start.index("WriterThread(self._file)") < start.index(r'self.write("\x1b[?1049h")')
    assert "_get_terminal_size()" in start
    assert "_stop_again" in start
    assert stop.index("disable_input()") < stop.index("tcsetattr") < stop.index(r'"\x1b[?1049l"')
    assert "self._disable_mouse_support()" in source("disable_input")
    assert "if self._writer_thread is not None" in source("close")
    assert "suspend_application_mode" in source("_sigtstp_application")
    assert "_must_signal_resume = True" in source("_sigtstp_application")
    assert "if self._auto_restart" in source("_sigcont_application")


def test_frames_are_written_to_the_driver_and_flushed() -> None:
    text = inspect.getsource(App._display)
    assert "self._driver.write(terminal_sequence)" in text
    assert "self._driver.flush()" in text
    assert re.search(r"driver_class\(\s*self,\s*debug=.*mouse=.*size=", inspect.getsource(App._build_driver), re.DOTALL)


def test_replies_to_both_queries_are_parsed_and_leave_no_keys() -> None:
    found = list(XTermParser().feed("\x1b[?2026;2$y\x1b[12;7Rx"))
    assert [type(message) for message in found] == [
        messages.TerminalSupportsSynchronizedOutput,
        events.CursorPosition,
        events.Key,
    ]
    assert list(XTermParser().feed("\x1b[?2026;0$y")) == []
