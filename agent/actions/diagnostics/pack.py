"""A bundle on disk: parts as files, packed with a manifest into one archive that is there whole or not at all.

For a thread: everything here reads and writes. Names come from our own lists and are checked nevertheless, for what
unpacks the archive trusts them.
"""

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.actions.diagnostics.fetch import BUNDLE, HASHES, digest

KEPT = 5  # bundles of a host; an older one has been fetched or was not wanted
MANIFEST = "manifest.json"
STAGE = "parts"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:\\-]{0,240}(?:/[A-Za-z0-9_][A-Za-z0-9_.@:\\-]{0,250})?", re.ASCII)


def fits(name: str) -> bool:
    """Whether a part may be called so."""
    return _NAME.fullmatch(name) is not None


def plain(name: str) -> str:
    """A host's name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", name)[:64].strip(".") or "host"


def stage(folder: Path) -> Path:
    """A new folder for a bundle's parts; older bundles make room, and what an interrupted one left goes."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    others = sorted((one for one in folder.parent.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime)
    for old in others[: max(0, len(others) - KEPT + 1)]:
        shutil.rmtree(old, ignore_errors=True)
    parts = folder / STAGE
    parts.mkdir(mode=0o700, parents=True)
    return parts


def write(parts: Path, name: str, data: bytes) -> dict[str, Any]:
    """One part; what the manifest says of it."""
    path = parts / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "missing": ""}


def append(parts: Path, name: str, data: bytes) -> None:
    """More of a part that comes in pieces."""
    path = parts / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


def pack(folder: Path, title: str, manifest: Mapping[str, Any]) -> int:
    """Everything that was staged, as an archive whose files lie in a folder called `title`; its size in bytes. The
    staged files are gone then.

    Raises:
        OSError: the disk would not have it.
    """
    parts, aside = folder / STAGE, folder / f"{BUNDLE}.new"
    write(parts, MANIFEST, json.dumps(manifest, indent=1).encode())
    with tarfile.open(aside, "w:gz", compresslevel=6) as archive:
        for path in sorted(one for one in parts.rglob("*") if one.is_file()):
            archive.add(path, f"{title}/{path.relative_to(parts)}", filter=_anonymous)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    (folder / (BUNDLE + HASHES)).write_text(digest(aside), "ascii")
    aside.replace(folder / BUNDLE)
    shutil.rmtree(parts)
    return (folder / BUNDLE).stat().st_size


def drop(folder: Path) -> None:
    """Nothing of an unfinished bundle stays."""
    if not (folder / BUNDLE).exists():
        shutil.rmtree(folder, ignore_errors=True)


def _anonymous(found: tarfile.TarInfo) -> tarfile.TarInfo:
    found.uid = found.gid = 0
    found.uname = found.gname = "root"
    found.mode = 0o644
    return found
