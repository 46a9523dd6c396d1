"""Questions that may never be answered, asked on a thread of their own.

The command line and the environment of a process are read through its memory's lock: beside a hung driver such a
read can last for ever, and a user's name may come from a directory server that is down. At most two threads exist; one
that is stuck is left behind, and while both are stuck nothing is asked.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any

THREADS = 2
_WAITING, _RUNNING, _DONE, _CANCELLED = range(4)


class Answer:
    """What a question brought: `value`, or None with `failed`."""

    def __init__(self, question: Callable[[], Any], notify: Callable[[], None] | None) -> None:
        self.value: Any = None
        self.failed = False
        self._question = question
        self._notify = notify
        self._state = _WAITING
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def done(self) -> bool:
        """Whether there is an answer, be it a failure."""
        return self._state == _DONE

    def wait(self, seconds: float) -> bool:
        """Wait for the answer; whether it came."""
        return self._over.wait(seconds)

    def cancel(self) -> bool:
        """Take the question back; False when it is already being asked."""
        with self._lock:
            if self._state == _WAITING:
                self._state = _CANCELLED
            return self._state == _CANCELLED

    def work(self) -> None:
        """Ask. Called by the lane's thread alone."""
        with self._lock:
            if self._state == _CANCELLED:
                return
            self._state = _RUNNING
        try:
            self.value = self._question()
        except (OSError, ValueError):
            self.failed = True
        except Exception:  # a defect of ours must not end the thread, and with it all that is asked later
            import logging  # here: `once` starts in milliseconds

            logging.getLogger(__name__).exception("a question failed unexpectedly")
            self.failed = True
        self._state = _DONE
        self._over.set()
        if self._notify is not None:
            try:
                self._notify()
            except RuntimeError:
                pass  # the loop that waited has ended


_Questions = queue.SimpleQueue[Answer | None]


class Lane:
    """Asks one question after another, in order; the thread is started by the first."""

    def __init__(self) -> None:
        self._questions: _Questions | None = None
        self._stuck: list[Answer] = []

    def ask(self, question: Callable[[], Any], notify: Callable[[], None] | None = None) -> Answer | None:
        """The answer to come, or None when no thread is free to ask. `notify` runs on the lane's thread."""
        self._stuck = [answer for answer in self._stuck if not answer.done]
        if self._questions is None:
            if len(self._stuck) >= THREADS:
                return None
            self._questions = queue.SimpleQueue()
            threading.Thread(target=_answer, args=(self._questions,), name="slow-reads", daemon=True).start()
        answer = Answer(question, notify)
        self._questions.put(answer)
        return answer

    def give_up(self, answer: Answer) -> bool:
        """Wait no longer. True when the question was being asked: its thread is then left behind."""
        if answer.done or answer.cancel():
            return False
        self._stuck.append(answer)
        self.close()
        return True

    def close(self) -> None:
        """End the thread once it has answered what it was asked."""
        if self._questions is not None:
            self._questions.put(None)
        self._questions = None


def _answer(questions: _Questions) -> None:
    while (answer := questions.get()) is not None:
        answer.work()
