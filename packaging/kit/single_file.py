"""`gpu-cockpit.pyz` and `gpu-cockpit-agent.pyz`: a short start, and within it archives for each Python and machine."""

import hashlib
import re
from collections.abc import Mapping, Sequence

from kit.archive import zipped
from kit.contents import Tree, fold, own, vendored
from kit.share import service_files, share
from kit.targets import Target, targets
from kit.wheels import ROOT, pins

PAGES = ROOT / "packaging" / "pyz"
PROGRAMS = {"agent": "gpu-cockpit-agent", "console": "gpu-cockpit"}
_OF_THE_HELPER = re.compile(r"agent/(__init__|actuator/\w+)\.py|LICENSE")
_ROOM = {"agent": "agent", "console": "cockpit"}


def build(part: str, arches: Sequence[str], version: str, epoch: int) -> bytes:
    """The whole file."""
    program = PROGRAMS[part]
    parts = _parts(part, arches, version)
    payload = {f"payload/{name}.zip": zipped(tree, epoch) for name, tree in parts.items()}
    digest = hashlib.sha256(b"".join(payload[name] for name in sorted(payload))).hexdigest()
    words = {
        "PROGRAM": program,
        "VERSION": version,
        "DIGEST": digest,
        "ROOM": _ROOM[part],
        "MEGABYTES": str(max(_unpacked(parts, target) for target in targets(*arches)) // 1_000_000 + 1),
    }
    pages = {name: _filled(name, words) for name in ("__main__.py", "unpack.py")}
    shared = share(program, version, epoch)
    if part == "agent":
        shared |= service_files(_helper(version, epoch))
    extras = {f"share/{path}": content for path, content in shared.items()}
    return zipped({**pages, **payload, **extras}, epoch, stored=frozenset(payload), head=b"#!/usr/bin/env python3\n")


def _helper(version: str, epoch: int) -> bytes:
    """The root helper as a file of its own: Python's own library is all it needs, so nothing is unpacked."""
    words = {"PROGRAM": "gpu-cockpit-actuator", "VERSION": version}
    ours = {path: content for path, content in own("agent", version).items() if _OF_THE_HELPER.fullmatch(path)}
    pages = {"__main__.py": _filled("__main__.py", words), "unpack.py": (PAGES / "helper.py").read_bytes()}
    return zipped({**ours, **pages}, epoch, head=b"#!/usr/bin/env python3\n")


def _parts(part: str, arches: Sequence[str], version: str) -> dict[str, Tree]:
    parts = fold({target: vendored(pins(part), target) for target in targets(*arches)})
    ours = own(part, version)
    if part == "console":
        ours["bin/gpu-cockpit-agent"] = (PAGES / "gpu-cockpit-agent").read_bytes()
    parts["any"] = {**parts.get("any", {}), **ours}
    return parts


def _unpacked(parts: Mapping[str, Tree], target: Target) -> int:
    """How many bytes one target unpacks."""
    mine = (parts.get(name, {}) for name in ("any", target.arch, f"{target.tag}-{target.arch}"))
    return sum(len(content) for tree in mine for content in tree.values())


def _filled(name: str, words: Mapping[str, str]) -> bytes:
    text = (PAGES / name).read_text("utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text.encode()
