"""PURE. The tail of a replica's log as its page shows it. Rule: it is read when it is asked for and says how old it is;
why there is none is a sentence, and a line of a log is remote text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.wire.replicas import replica_subject
from agent.wire.requests import Answer, Lines, Log, Refused
from cockpit.tui.evidence import labelled
from cockpit.tui.format import duration, plain
from cockpit.tui.gpu_detail import heading
from cockpit.tui.lines import Line, clipped
from cockpit.tui.theme import Ink

LINES = 60  # asked for
DEADLINE_S = 10.0  # real seconds: a journal of many GiB is slow to open

_EMPTY = "its unit wrote nothing that is kept"


@dataclass(frozen=True, slots=True)
class Tail:
    """What is known of a log. `asked`, `told` are real seconds (0.0: never)."""

    text: tuple[str, ...] = ()
    source: str = ""
    says: str = ""
    asked: float = 0.0
    told: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether an answer is under way."""
        return self.asked > self.told

    def asking(self, real: float) -> "Tail":
        """The same, asked again."""
        return replace(self, asked=real)

    def failed(self, sentence: str, real: float) -> "Tail":
        """No answer; what was told before stays."""
        return replace(self, says=sentence, told=max(real, self.asked))

    def answered(self, answers: Sequence[Answer], real: float) -> "Tail":
        """What an agent said."""
        for answer in answers:
            if isinstance(answer, Lines):
                says = answer.says or ("" if answer.lines else _EMPTY)
                return Tail(answer.lines, answer.source, says, self.asked, max(real, self.asked))
            if isinstance(answer, Refused):
                return self.failed(answer.says, real)
        return self.failed("the agent gave no answer that this console understands", real)

    def lines(self, real: float, width: int) -> list[Line]:
        """Heading with its age, the lines, newest first as everywhere, and why there are none or few."""
        found = [(*heading("LOG")[0], (self._source(real), Ink.FAINT))]
        if self.says:
            found += labelled("", self.says, width, Ink.MUTED)
        return [*found, *(clipped(((f"  {plain(line)}", Ink.TEXT),), width - 1) for line in reversed(self.text))]

    def _source(self, real: float) -> str:
        source = f"  {plain(self.source)}" if self.source else ""
        if self.waits:
            return f"{source}  asking, {duration(real - self.asked)} ..."
        if not self.told:
            return "  l reads it"
        return f"{source}  asked {duration(real - self.told)} ago, newest first, l asks again"


def question(identity: str) -> Log:
    """The newest lines of a replica's log."""
    return Log(0, replica_subject(identity), LINES)
