"""What can go wrong while a package is built."""


class BuildError(Exception):
    """Nothing was built; says why in one sentence."""
