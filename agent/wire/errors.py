"""The one error a peer's bytes can cause."""


class WireError(Exception):
    """The peer broke the contract; it ends that session and nothing else."""
