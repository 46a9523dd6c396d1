"""Zip archives whose bytes depend on names, contents and one time alone."""

import io
import time
import zipfile
from collections.abc import Mapping

FIRST_ZIP_TIME = 315_532_800  # 1980-01-01: the format knows nothing earlier


def zipped(tree: Mapping[str, bytes], epoch: int, *, stored: frozenset[str] = frozenset(), head: bytes = b"") -> bytes:
    """A zip of `tree` in the order of its names, behind `head`; those in `stored` are not compressed."""
    out = io.BytesIO()
    out.write(head)
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(tree):
            item = zipfile.ZipInfo(name, time.gmtime(max(epoch, FIRST_ZIP_TIME))[:6])
            item.create_system = 3  # unix, whatever builds it
            item.external_attr = 0o100644 << 16
            item.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(item, tree[name], compresslevel=6)
    return out.getvalue()
