"""The operator's own runbooks: `runbooks/*.toml` beside the settings. Rule: a file that cannot be read is said and
hides no other."""

from pathlib import Path

from cockpit.config import home
from cockpit.runbook.reading import MOST_BYTES
from cockpit.runbook.shelf import Shelf, shelf

MOST = 200


def load(folder: Path | None = None) -> Shelf:
    """The library and what is in the operator's folder, which may be missing."""
    where = folder or home() / "runbooks"
    files, complaints = [], []
    try:
        paths = sorted(where.glob("*.toml"))
    except OSError as error:
        return Shelf(shelf().recipes, (f"{where}: cannot be read: {error.strerror or error}",))
    if len(paths) > MOST:
        complaints.append(f"{where}: more than {MOST} runbooks; those after {paths[MOST - 1].name} are left out")
    for path in paths[:MOST]:
        try:
            with path.open("rb") as file:
                files.append((path.stem, str(path), file.read(MOST_BYTES + 1)))
        except OSError as error:
            complaints.append(f"{path}: cannot be read: {error.strerror or error}; check its owner and mode")
    found = shelf(files)
    return Shelf(found.recipes, (*complaints, *found.complaints))
