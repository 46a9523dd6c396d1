"""What in `[[serving]]` only those can check who know the engines."""

import difflib

from agent.config.serving import GENERIC, Serving
from agent.engines import generic
from agent.engines.registry import ENGINES
from agent.errors import ConfigError

ALIASES = ("mlserver",)  # words of the JSON that are no engine's own record
NAMES = (*(engine.name for engine in ENGINES), *ALIASES)


def check(tables: tuple[Serving, ...]) -> None:
    """Engines and metric names that nobody knows.

    Raises:
        ConfigError: there are some.
    """
    for table in tables:
        if table.engine and table.engine not in NAMES:
            near = difflib.get_close_matches(table.engine, NAMES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMES)}"
            raise ConfigError(f"{table.place}: engine {table.engine!r} is not known; {hint}")
        wrong = generic.wrong(table.names) if table.engine == GENERIC else ""
        if wrong:
            raise ConfigError(f"{table.place}: names: {wrong}")
