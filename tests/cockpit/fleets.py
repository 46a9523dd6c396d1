"""A small fleet in every state a human may meet, for tests of queries, problems and rollups."""

from agent.wire.frames import Facts
from agent.wire.specs import Severity
from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.fakes.hosts import EPOCH, FakeHost

NOW = Instant(EPOCH + 10, 110.0)


def feed(fleet: Fleet, number: int, host: FakeHost, **facts: object) -> None:
    """Bring one host to life at `EPOCH`."""
    fleet.link_changed(number, LinkStatus(LinkState.LIVE), Instant(EPOCH, 100.0))
    for frame in host.opening(**facts):
        fleet.apply(number, frame, Instant(EPOCH, 100.0))


def mixed() -> tuple[Fleet, list[FakeHost]]:
    """gpu-a01 (prod): GPU 5 lost, was running vllm of alice; gpu-a02 (prod): GPU 1 hot; gpu-b01 (dev): unreachable."""
    hosts = [FakeHost("gpu-a01"), FakeHost("gpu-a02", gpus=4), FakeHost("gpu-b01", gpus=2)]
    pools = ("prod", "prod", "dev")
    entries = [
        HostEntry(host.name, UnixTarget(f"/run/{host.name}"), {"pool": pool, "site": "x"})
        for host, pool in zip(hosts, pools, strict=True)
    ]
    fleet = Fleet(entries)
    vllm = {"pid": 812, "user": "alice", "command": "/opt/vllm serve llama", "gpus": [hosts[0].uuids[5]], "job": "77"}
    lost = hosts[0].gpu_facts(
        **{hosts[0].uuids[5].replace("-", "_"): {"state": "lost", "last_seen": EPOCH - 9, "last_processes": [vllm]}}
    )
    found = [
        hosts[0].finding(5, "gpu.lost", text="GPU 5 has fallen off the bus (XID 79)", since=EPOCH - 8),
        hosts[0].finding(5, "xid.fatal", text="XID 79 on GPU 5: unreachable", since=EPOCH - 9),
    ]
    feed(fleet, 0, hosts[0], gpus=lost, findings=found)
    hot = hosts[1].finding(1, "thermal.hw", severity=Severity.WARNING, text="GPU 1 slows down: 93 C", since=EPOCH - 60)
    serve = {"pid": 9, "user": "bob", "command": "python train.py", "gpus": list(hosts[1].uuids[:2]), "gpu_memory": 5e9}
    feed(fleet, 1, hosts[1], findings=[hot], processes=[serve])
    fleet.apply(1, hosts[1].sample(EPOCH + 9, gpu_temperature=[50.0, 93.0, 51.0, 52.0]), NOW)
    fleet.apply(1, hosts[1].event(EPOCH + 9, "xid", hosts[1].finding(1).subject, "XID 13 graphics", xid=13), NOW)
    feed(fleet, 2, hosts[2])
    fleet.apply(2, Facts("labels", {"rack": "r9"}), NOW)
    fleet.link_changed(2, LinkStatus(LinkState.UNREACHABLE, "gpu-b01: no answer for 6 s", "look at its console"), NOW)
    fleet.age(NOW)
    return fleet, hosts
