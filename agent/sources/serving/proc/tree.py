"""Processes to the trees that may be replicas: who is whose root. PURE.

From a process that an engine's words or a GPU give away one climbs to the topmost of its line that runs an engine's
program; what merely supervises it (a shell, systemd, a runtime) is none of it.
"""

from collections.abc import Callable, Mapping

from agent.engines import detect
from agent.sources.serving.proc.table import FEW_WORDS, Proc

VITAL = ("VLLM::EngineCore", "VLLM::Worker", "sglang::scheduler")  # without these the rest of the tree is of no use
MOST_MEMBERS = 256
_DEEP = 64


def roots(
    processes: Mapping[int, Proc], holders: frozenset[int], listens: Callable[[int], bool]
) -> dict[int, list[Proc]]:
    """{pid of a root: its tree, the root first}. `holders` hold GPUs; `listens` says whether a process is known to
    have a socket that waits for connections."""
    words = {pid: _word(one) for pid, one in processes.items() if one.argv and not one.zombie}
    found = {pid for pid, word in words.items() if word in ("program", "above")}
    tops = {_top(pid, processes, words) for pid in found}
    for pid in sorted({pid for pid, word in words.items() if word == "title"} | (holders & processes.keys())):
        if not any(above in found for above in _line(pid, processes)):
            root = _listening(pid, processes, words, listens)
            if root:
                tops.add(root)
    trees: dict[int, list[Proc]] = {pid: [processes[pid]] for pid in sorted(tops)}
    for pid, root in sorted(_nearest(processes, tops).items()):
        if root and root != pid and len(trees[root]) < MOST_MEMBERS:
            trees[root].append(processes[pid])
    serving = {root for root, tree in trees.items() if words[root] != "above" or _has_engine(tree, words)}
    return {root: tree for root, tree in trees.items() if root in serving}


def _nearest(processes: Mapping[int, Proc], tops: set[int]) -> dict[int, int]:
    """{pid: the first of `tops` at or above it, 0 if there is none}; each process is looked at once."""
    found = {top: top for top in tops}
    for pid in processes if tops else ():
        path, at = [], pid
        while at in processes and at not in found:
            found[at] = 0  # until it is known: those that are their own ancestors end here
            path.append(at)
            at = processes[at].parent
        found.update(dict.fromkeys(path, found.get(at, 0)))
    return found


def _has_engine(tree: list[Proc], words: Mapping[int, str]) -> bool:
    """Whether something of an engine runs below a supervisor: it runs other work as well."""
    return any(words.get(one.pid) in ("program", "title") for one in tree)


def missing(tree: list[Proc], before: frozenset[str]) -> tuple[str, frozenset[str]]:
    """(what is gone although the root lives, as a sentence; the vital titles seen so far)."""
    alive = frozenset(title for one in tree if not one.zombie and (title := vital(one)))
    defunct = sorted(title for one in tree if one.zombie and (title := vital(one)) and title not in alive)
    if defunct:
        return f"{defunct[0]} is defunct", before | alive
    lost = sorted(before - alive)
    return (f"{lost[0]} is gone" if lost else ""), before | alive


def vital(one: Proc) -> str:
    """The title of a process without which the rest of its tree is of no use; "" for any other."""
    title = one.argv[0].split(" ", 1)[0] if one.argv else one.comm
    return title[:64] if title.startswith(VITAL) else ""


def _word(one: Proc) -> str:
    """What a command line says: program, title, above (a supervisor of engines), or nothing of an engine."""
    if one.word is None:
        argv = one.argv[:FEW_WORDS]
        one.word = "above" if detect.supervises(argv) else ""
        if detect.might_serve([argv]):
            one.word = "program" if _runs(argv) else "title"
    return one.word


def _runs(argv: tuple[str, ...]) -> bool:
    return detect.might_serve([argv]).startswith("a process runs ")


def _line(pid: int, processes: Mapping[int, Proc]) -> list[int]:
    """A process and those above it, up to the first that is not known."""
    found: list[int] = []
    while pid in processes and pid not in found and len(found) < _DEEP:
        found.append(pid)
        pid = processes[pid].parent
    return found


def _top(pid: int, processes: Mapping[int, Proc], words: Mapping[int, str]) -> int:
    """The topmost of the line above `pid` that runs an engine's program without a break."""
    top = pid
    for above in _line(pid, processes):
        if above != pid and not words.get(above):
            break
        top = above
    return top


def _listening(
    pid: int, processes: Mapping[int, Proc], words: Mapping[int, str], listens: Callable[[int], bool]
) -> int:
    """The root of a process that holds a GPU, or that a title gives away, and whose command line is no engine's."""
    line = [above for above in _line(pid, processes) if above > 1 and processes[above].uid == processes[pid].uid]
    return next((above for above in line if listens(above)), pid if words.get(pid) else 0)
