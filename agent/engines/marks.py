"""PURE. What gives an engine away, as data: programs, process titles, metric names, answers.

How much each is worth is the same for all: an answer that only this engine gives beats the names of its metrics, these
beat a command line, and a process title alone proves nothing, because titles are copied from engine to engine.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.engines.answer import Answer
from agent.engines.evidence import Clue, Evidence

FINGERPRINT = 0.9  # an answer that no other engine gives
METRICS = 0.7
OWNER = 0.6  # `owned_by` in /v1/models: a proxy in front of the engine passes it on
PROGRAM = 0.5
TITLE = 0.3
AGREES = 0.04  # what each further sign adds
INTERPRETERS = ("python", "pypy", "java", "node", "uv", "bun")
VALUED = frozenset(
    {"-W", "-X", "--check-hash-based-pycs", "-cp", "-classpath", "--class-path"}
)  # options of an interpreter that take the next word
WORDS = 3  # how deep into its arguments a command is recognised: `python -m vllm.entrypoints.cli.main serve`

Fingerprint = Callable[[Evidence], str]


def no_fingerprint(evidence: Evidence) -> str:
    """For an engine that no answer gives away."""
    return ""


@dataclass(frozen=True, slots=True)
class Marks:
    """`programs` are commands without their interpreter, word by word ("vllm", "serve"); a module that begins with the
    first word and a dot counts too. `titles` are beginnings of process titles, `prefixes` of metric names with `_` for
    `:`, `owners` are `owned_by` of /v1/models. `fingerprint` says what answer no other engine gives, or "".
    `version_at` is the page whose "version" is the engine's own. `first` are the probes that are asked first, and alone
    if they tell, where its processes are seen."""

    programs: tuple[tuple[str, ...], ...] = ()
    titles: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    fingerprint: Fingerprint = no_fingerprint
    version_at: str = ""
    first: tuple[str, ...] = ()

    def detect(self, evidence: Evidence) -> Clue | None:
        """What points to this engine, the strongest sign first; None where nothing does."""
        signs = sorted(self._signs(evidence), reverse=True)
        if not signs:
            return None
        confidence = min(0.99, signs[0][0] + AGREES * (len(signs) - 1))
        return Clue(confidence, tuple(says for _, says in signs), self.version(evidence))

    def process(self, argvs: Iterable[tuple[str, ...]], titles: Iterable[str] = ()) -> tuple[str, str]:
        """(the program, the title) of a process tree that belong to this engine, "" where none does."""
        lines = list(argvs)
        ran = next((" ".join(found) for argv in lines if (found := self._program(argv))), "")
        names = [*titles, *(argv[0] for argv in lines if argv)]
        title = next((name for name in names if name.startswith(self.titles)), "") if self.titles else ""
        return ran, title

    def metric(self, evidence: Evidence) -> str:
        """A name of this engine's metrics that is printed, "" if there is none."""
        if not self.prefixes:
            return ""
        return min((name for name in evidence.prefixes if name.startswith(self.prefixes)), default="")

    def version(self, evidence: Evidence) -> str:
        """What it says its version is, "" where it does not."""
        found = document(evidence.answers.get(self.version_at))
        version = found.get("version") if isinstance(found, dict) else None
        return version[:64] if isinstance(version, str) else ""

    def _signs(self, evidence: Evidence) -> list[tuple[float, str]]:
        ran, title = self.process(evidence.argvs, evidence.titles)
        metric = self.metric(evidence)
        owner = owned_by(evidence)
        answer = self.fingerprint(evidence)
        signs = [
            (FINGERPRINT, answer) if answer else None,
            (METRICS, f"/metrics prints {metric}") if metric else None,
            (OWNER, f"/v1/models says owned_by {owner}") if owner and owner in self.owners else None,
            (PROGRAM, f"a process runs {ran}") if ran else None,
            (TITLE, f"a process calls itself {title[:40]}") if title else None,
        ]
        return [sign for sign in signs if sign is not None]

    def _program(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        words = command(argv)
        for program in self.programs:
            first = words[0] if words else ""
            if first == program[0] and _follows(words[1:], program[1:]):
                return program
            if len(program) == 1 and first.startswith(program[0] + "."):
                return (first,)
        return ()


def _follows(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether the wanted words are the first ones that are no options."""
    plain = tuple(word for word in words if not word.startswith("-"))
    return plain[: len(wanted)] == wanted


def command(argv: tuple[str, ...]) -> tuple[str, ...]:
    """A command line without its interpreter and folders: the program's or module's name and what follows it."""
    words = list(argv)
    if words and _base(words[0]).startswith(INTERPRETERS):
        words = _interpreted(words[1:])
    return (_base(words[0]), *words[1:]) if words else ()


def _interpreted(words: list[str]) -> list[str]:
    """What an interpreter runs: the module of -m, or the script; empty for code on the command line."""
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "-m":
            return words
        if option == "-c":
            return []
        if option in VALUED and words:
            words.pop(0)
    return words


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def document(answer: Answer | None) -> object:
    """The JSON of a whole answer; None if it is none."""
    if answer is None or not answer.ok or answer.body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        found: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found


def owned_by(evidence: Evidence) -> str:
    """Whom /v1/models calls the owner of its first model."""
    found = document(evidence.answers.get("/v1/models"))
    models = found.get("data") if isinstance(found, dict) else None
    first = models[0] if isinstance(models, list) and models else None
    owner = first.get("owned_by") if isinstance(first, dict) else None
    return owner if isinstance(owner, str) else ""
