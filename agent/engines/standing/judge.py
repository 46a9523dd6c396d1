"""PURE. The judge of one replica: hears every round and says how it stands."""

from agent.engines.standing.look import Look, Standing

LOAD_BUDGET_S = 900.0


class Judge:
    """One replica's. `engine` is the name of its engine, `load_budget_s` how long it may take to load."""

    def __init__(self, engine: str, load_budget_s: float = LOAD_BUDGET_S) -> None:
        self.engine = engine
        self.load_budget_s = load_budget_s
        self.standing = Standing()

    def hear(self, look: Look) -> Standing:
        """Take a round; how the replica stands now."""
        return self.standing
