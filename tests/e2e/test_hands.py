"""Must hold on every machine: a replica behind a real load balancer is drained, restarted and put back, and none of its
users notices; done carelessly, they do."""

from collections.abc import Iterator

import pytest

from tests.e2e.hands import Pool, furnish, unit_of
from tests.e2e.serving import require_engines
from tests.lab import has_command, require
from tests.packaging.builds import THIS, shared
from tests.packaging.node import Node, require_node

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    require_node()
    require_engines()
    require("haproxy", has_command("haproxy"))
    lab = tmp_path_factory.mktemp("hands")
    (package,) = shared(tmp_path_factory, "build-deb", "--version", THIS).iterdir()
    with Node(lab) as node:
        yield furnish(node, package)


def test_without_a_drain_users_notice_a_restart(pool: Pool) -> None:
    """What the tests below rest on: the load sees a request that is cut."""
    with pool.load() as told:
        pool.node.run("systemctl", "restart", unit_of("r1"))
    assert told["failed"] > 0
