"""The one error a peer's bytes can cause, and the one kind of it that has a remedy: an update."""


class WireError(Exception):
    """The peer broke the contract; it ends that session and nothing else."""


class VersionError(WireError):
    """The peer speaks another major version, `peer_major`: too old or too new, but one of ours."""

    def __init__(self, says: str, peer_major: int) -> None:
        super().__init__(says)
        self.peer_major = peer_major
