"""How the packages are built: pinned wheels, one file tree for several Pythons, and archives whose bytes depend on
their input alone. Standard library only, plus `pip download` for wheels that are not in `build/wheels` yet."""
