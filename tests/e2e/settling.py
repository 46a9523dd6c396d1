"""What one console makes of many hosts at once, asked where the operator sits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.network import Network

REPOSITORY = Path(__file__).parents[2]


def settle(network: Network, fleet: str, hold_s: float, connect_s: float = 10.0) -> dict[str, Any]:
    """Keep the links of this fleet file until each has settled, and `hold_s` longer; see `settle_links`."""
    file = network.folder / "settle.toml"
    file.write_text(fleet)
    done = subprocess.run(
        network.inside("ops", sys.executable, "-m", "tests.e2e.settle_links", str(file), str(hold_s), str(connect_s)),
        check=False,
        capture_output=True,
        text=True,
        timeout=40,
        cwd=REPOSITORY,
        env=network.environment(),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
