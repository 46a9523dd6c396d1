"""A fleet with hands on real sockets: what agents offer, what they tell of the balancer, what a resumed fleet knows."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.actions.base import Inside
from agent.errors import StateError
from agent.sim.fleet import SimFleet
from agent.wire.audit import verify
from cockpit.inventory import load
from tests.agent.sim.theatre import CHAT, WHO
from tests.fakes.client import Client, fetch, subscribe


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sim-", dir="/tmp"))
    yield path / "d"
    shutil.rmtree(path, ignore_errors=True)


def root(fleet: SimFleet, host: str) -> Any:
    """The root helper of a host."""

    async def let_go(released: bool, deadline_s: float) -> bool:
        return True

    return fleet.stage.hosts[host].hands(Inside(fleet.clock, lambda section: None, let_go)).root


def act(action: str, key: str, **args: str) -> dict[str, Any]:
    return {"v": 1, "verb": "act", "action": action, "args": args, "key": key, "run": "r", "who": WHO}


async def test_every_agent_of_a_fleet_acts_and_the_first_one_tells_of_the_balancer(directory: Path) -> None:
    async with SimFleet(directory, hosts=3, gpus=2, speed=10) as fleet:
        inventory = load(fleet.file)
        pools = {name: (entry.expected, entry.floor) for name, entry in inventory.pools.items()}
        assert pools == {"chat-70b": (3, 2), "embed": (3, 2)}
        client = await Client.open(fleet.socket("gpu-a01"))
        client.send(subscribe())
        picture = await client.until(lambda picture: bool(picture.facts.get("backends")))
        await client.close()
        servers = {row["server"]: (row["lb"], row["backend"], row["state"]) for row in picture.facts["backends"]}
        assert servers == dict.fromkeys(("gpu-a01", "gpu-a02", "gpu-a03"), ("edge", "chat-70b", "up"))
        addresses = {row["address"] for row in picture.facts["backends"]}
        assert addresses == {machine.address for machine in fleet.machines}
        for host in ("gpu-a01", "gpu-a02"):
            told = await asyncio.to_thread(fetch, fleet.socket(host))
            assert told.hello is not None
            assert {"systemd.restart", "haproxy.drain", "diagnostics.collect"} <= set(told.hello.may)
            assert "gpu.let_go" not in told.hello.may, "the policy of the simulation does not name it"
            assert told.hello.audit_count
            assert told.schema is not None
            assert {spec.id for spec in told.schema.actions} > set(told.hello.may) - {"gpu.let_go"}
            (kept,) = told.facts["pools"]
            assert (kept["name"], kept["floor"], kept["keepers"]) == ("embed", 2, ["gpu-a01", "gpu-a02", "gpu-a03"])


async def test_a_fleet_that_goes_on_knows_what_was_done_and_its_record_is_whole(directory: Path) -> None:
    drain = {"lb": "edge", "backend": "chat-70b", "server": "gpu-a02"}
    async with SimFleet(directory, hosts=2, gpus=2, speed=60) as fleet:
        assert (await root(fleet, "gpu-a01").ask(act("haproxy.drain", "r/1", **drain), None, 10.0)).end == "done"
        assert (await root(fleet, "gpu-a02").ask(act("systemd.stop", "r/2", unit=CHAT), None, 10.0)).end == "done"
        before = (await root(fleet, "gpu-a01").ask({"v": 1, "verb": "head"})).data
    async with SimFleet(directory) as again:
        balancer = again.stage.balancer
        assert again.resumed
        assert balancer is not None
        assert [(server.name, server.state) for server in balancer.servers] == [
            ("gpu-a01", "ready"),
            ("gpu-a02", "drain"),
        ]
        unit = await root(again, "gpu-a02").ask({"v": 1, "verb": "look", "what": "unit", "unit": CHAT})
        assert unit.data["ActiveState"] == "inactive"
        assert not again.machine("gpu-a02").replicas[0].workers
        helper = root(again, "gpu-a01")
        assert (await helper.ask(act("haproxy.drain", "r/1", **drain))).data["repeat"] is True
        lines = (await helper.ask({"v": 1, "verb": "audit", "first": 1, "limit": 200})).data["lines"]
        assert verify([line.encode() for line in lines], {before["count"]: before["head"]}).ok
    text = (directory / "gpu-a01" / "audit.jsonl").read_bytes().splitlines()
    assert verify(text, {}).ok


async def test_a_deed_that_was_cut_while_it_was_written_is_left_out(directory: Path) -> None:
    async with SimFleet(directory, hosts=1, gpus=2, speed=60) as fleet:
        await root(fleet, "gpu-a01").ask(act("systemd.stop", "r/1", unit=CHAT), None, 10.0)
    deeds = directory / "deeds.jsonl"
    deeds.write_text(deeds.read_text() + '{"at": 17', "utf-8")
    async with SimFleet(directory) as again:
        assert not again.machine("gpu-a01").replicas[0].workers
        await root(again, "gpu-a01").ask(act("systemd.start", "r/2", unit=CHAT), None, 10.0)
    async with SimFleet(directory) as third:
        assert third.machine("gpu-a01").replicas[0].workers, "what came after it is known"
    deeds.write_text('{"at": "never"}\n' + deeds.read_text(), "utf-8")
    with pytest.raises(StateError, match=r"deeds\.jsonl: no list of deeds"):
        await SimFleet(directory).__aenter__()


async def test_another_fleet_of_the_same_seed_has_other_hosts_and_the_same_one_keeps_its_own(directory: Path) -> None:
    """A console that remembers the record of one must not take the other's for a forgery."""
    ids = []
    for folder in (directory, directory.with_name("other"), directory):
        async with SimFleet(folder, hosts=1, gpus=1) as fleet:
            ids.append(fleet.machines[0].host_id)
    assert ids[0] == ids[2] != ids[1]
