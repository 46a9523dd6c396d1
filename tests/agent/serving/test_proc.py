"""Discovery on this very host: real processes, real sockets, and with root a network namespace of their own."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.engines.answer import Ask
from agent.sources.serving.client import Endpoint
from agent.sources.serving.http import HttpClient
from agent.sources.serving.landscape import Group, Sight
from agent.sources.serving.proc import ProcLandscape, diag, network, sockets
from agent.sources.serving.proc.devices import Devices
from agent.sources.serving.proc.scan import Held, Scan
from agent.sources.serving.proc.table import TURNS, Proc, Table
from agent.sources.serving.proc.tree import missing, roots
from tests.lab import has_command, has_root, may_lack, require

SERVER = """
import socket, sys, time
at = sys.argv.index("--port")
server = socket.socket()
server.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND: any address, and nobody needs a privilege for it
server.bind((sys.argv[sys.argv.index("--host") + 1], int(sys.argv[at + 1])))
server.listen()
print(server.getsockname()[1], flush=True)
while True:
    peer, _ = server.accept()
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    peer.close()
"""


@contextmanager
def engine(
    folder: Path, port: int = 0, host: str = "127.0.0.1", before: tuple[str, ...] = (), **environ: str
) -> Iterator[tuple[int, int]]:
    """(pid, port) of a program that looks like `vllm serve` and listens."""
    program = folder / "vllm"
    program.write_text(SERVER)
    command = [*before, sys.executable, "-I", "-S", str(program), "serve", "m", "--host", host, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **environ})
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def scanned(held: Held | None = None, pid: int = 0, scan: Scan | None = None) -> Group:
    """The group of a process as a scan sees it."""
    sight = (scan or Scan("/proc", "/sys", str)).look(held or Held({}), time.time())
    return next(group for group in sight.groups if group.processes[0].pid == pid)


def test_a_server_is_found_with_its_process_user_and_socket(tmp_path: Path) -> None:
    with engine(tmp_path) as (pid, port):
        group = scanned(pid=pid)
        assert [(one.address, one.port, one.uid, one.local) for one in group.listeners] == [
            ("127.0.0.1", port, os.getuid(), True)
        ]
        assert group.uid == os.getuid()
        root = group.processes[0]
        assert root.argv[-6:] == ("serve", "m", "--host", "127.0.0.1", "--port", "0")
        assert root.started == pytest.approx(time.time(), abs=30)
        assert (group.gpus, group.gpu_map, group.apart) == ((), "none", "")


def test_one_on_all_addresses_is_asked_over_loopback(tmp_path: Path) -> None:
    with engine(tmp_path, host="0.0.0.0") as (pid, port):
        assert [(one.address, one.port) for one in scanned(pid=pid).listeners] == [("127.0.0.1", port)]


def test_an_address_that_is_not_this_hosts_is_never_asked_though_a_process_here_is_bound_to_it(tmp_path: Path) -> None:
    with engine(tmp_path, host="192.0.2.77") as (pid, port):
        sight = Scan("/proc", "/sys", str).look(Held({}), time.time())
        group = next(group for group in sight.groups if group.processes[0].pid == pid)
        assert group.listeners == ()
        assert group.apart == "listens on an address that is not this host's"
        assert "192.0.2.77" not in {one.address for listeners in sight.listening.values() for one in listeners}
        assert port not in sight.listening


def test_its_gpus_are_those_that_the_driver_lists_or_else_those_that_its_environment_names(tmp_path: Path) -> None:
    order = ("GPU-0", "GPU-1", "GPU-2")
    with engine(tmp_path, CUDA_VISIBLE_DEVICES="1,2") as (pid, _):
        listed = scanned(Held({pid: ("GPU-2", "GPU-0")}, order), pid)
        assert (listed.gpus, listed.gpu_map) == (("GPU-0", "GPU-2"), "driver")
        inferred = scanned(Held({}, order), pid)
        assert (inferred.gpus, inferred.gpu_map) == (("GPU-1", "GPU-2"), "inferred")


def look_until(landscape: ProcLandscape, claim: Callable[[Sight], bool], seconds: float = 15.0) -> Sight:
    clock = SystemClock()
    end = clock.real() + seconds
    while clock.real() < end:
        sight = landscape.look(clock.now())
        if claim(sight):
            return sight
        time.sleep(0.02)
    raise AssertionError("never seen")


def test_a_root_that_is_killed_is_missing_at_the_next_look_also_while_nobody_has_reaped_it(tmp_path: Path) -> None:
    landscape = ProcLandscape(SystemClock(), dict, dict)
    try:
        with engine(tmp_path) as (pid, _):
            found = look_until(landscape, lambda sight: any(g.processes[0].pid == pid for g in sight.groups))
            assert landscape.look(SystemClock().now()) is found or found.groups
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
            sight = landscape.look(SystemClock().now())
            assert not any(group.processes[0].pid == pid for group in sight.groups)
    finally:
        landscape.close()


def test_the_kernel_tells_the_same_listeners_as_its_files() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        mine = {own.getsockname()[1]: "127.0.0.1", six.getsockname()[1]: "::1"}
        for found in (diag.waiting(), sockets.waiting("/proc/net")):
            assert {one.port: one.address for one in found if one.port in mine} == mine


LISTENING = b"""  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 478 1 0
   1: 00000000000000000000000001000000:1F91 0000:0000 0A 00000000:00000000 00:00000000 00000000     5        0 9 1 0
   2: 0000000000000000FFFF00000100007F:1F92 0000:0000 0A 00000000:00000000 00:00000000 00000000     5        0 9 1 0
   3: nonsense 0000:0000 0A 00000000:00000000 00:00000000 00000000     5        0 9 1 0
   4: 0100007F:1F93 0100007F:0001 01 00000000:00000000 00:00000000 00000000  1000        0 479 1 0
"""


def test_a_user_who_listens_ten_thousand_times_hides_nobody_elses_socket() -> None:
    flood = [sockets.Waiting("127.0.0.1", port, 1001, port) for port in range(1, 10_001)]
    ours = sockets.Waiting("127.0.0.1", 8000, 1000, 77)
    found = sockets.bounded([*flood, ours])
    assert found[-1] == ours
    assert len(found) == sockets.MOST + 1
    assert sockets.bounded(flood[:100]) == tuple(flood[:100])


def test_lines_of_the_kernels_files_are_read_and_nonsense_is_left_out() -> None:
    found = [(one.address, one.port, one.uid, one.inode) for one in sockets.parse(LISTENING)]
    assert found == [("127.0.0.1", 8080, 1000, 478), ("::1", 8081, 5, 9), ("127.0.0.1", 8082, 5, 9)]


def table(*processes: Proc) -> dict[int, Proc]:
    return {one.pid: one for one in processes}


def proc(pid: int, parent: int, argv: str, uid: int = 1000, **more: bool) -> Proc:
    return Proc(pid, parent, str(pid), 0.0, uid, argv[:15], tuple(argv.split()), **more)


def trees(processes: dict[int, Proc], holders: set[int], listening: set[int] = frozenset()) -> dict[int, list[int]]:  # type: ignore[assignment]
    found = roots(processes, frozenset(holders), lambda pid: pid in listening)
    return {root: [one.pid for one in members] for root, members in found.items()}


def test_from_a_title_and_a_gpu_one_climbs_to_the_server_that_supervises_them() -> None:
    there = table(
        proc(1, 0, "init"),
        proc(10, 1, "bash start.sh"),
        proc(11, 10, "python -m vllm.entrypoints.openai.api_server --port 8000"),
        proc(12, 11, "VLLM::EngineCore"),
        proc(13, 12, "VLLM::Worker_TP0"),
        proc(14, 12, "VLLM::Worker_TP1"),
        proc(20, 1, "tritonserver --model-repository=/m"),
        proc(21, 20, "triton_python_backend_stub /m/1/model.py"),
        proc(30, 1, "python train.py"),
    )
    assert trees(there, {13, 14, 21, 30}) == {11: [11, 12, 13, 14], 20: [20, 21]}


def test_what_ray_serve_runs_is_one_replica_and_a_ray_node_that_trains_is_none() -> None:
    there = table(
        proc(1, 0, "init"),
        proc(10, 1, "ray start --head"),
        proc(11, 10, "/venv/ray/core/src/ray/raylet/raylet --x"),
        proc(12, 11, "ray::DashboardAgent"),
        proc(13, 11, "ray::ProxyActor"),
        proc(14, 11, "ray::ServeReplica:app:Predictor"),
        proc(20, 1, "/venv/ray/core/src/ray/raylet/raylet --y"),
        proc(21, 20, "ray::Trainer"),
    )
    assert trees(there, {14, 21}, {11, 12, 13, 14, 20}) == {11: [11, 12, 13, 14]}


def test_two_programs_of_one_engine_in_a_row_are_one_and_a_shell_between_them_is_none() -> None:
    there = table(
        proc(1, 0, "init"),
        proc(10, 1, "text-generation-launcher"),
        proc(11, 10, "text-generation-router"),
        proc(12, 10, "text-generation-server serve m"),
        proc(20, 1, "python -m dynamo.frontend"),
        proc(21, 1, "python -m dynamo.vllm"),
    )
    assert trees(there, set()) == {10: [10, 11, 12], 20: [20], 21: [21]}


def test_a_gpu_holder_without_an_engines_words_counts_only_if_it_or_its_parent_listens() -> None:
    there = table(proc(1, 0, "init", 0), proc(40, 1, "python serve_it.py"), proc(41, 40, "python worker.py"))
    assert trees(there, {41}) == {}
    assert trees(there, {41}, {40}) == {40: [40, 41]}


def test_processes_that_are_their_own_ancestors_end_the_climb() -> None:
    there = table(proc(5, 6, "VLLM::Worker"), proc(6, 5, "VLLM::EngineCore"))
    assert trees(there, {5})  # and does not hang
    there = table(proc(5, 6, "vllm serve m"), proc(6, 5, "vllm serve m"), proc(7, 6, "vllm serve m"))
    assert {pid for tree in trees(there, set()).values() for pid in tree} == {5, 6, 7}


def test_a_process_is_read_again_each_time_it_has_quadrupled_its_age(tmp_path: Path) -> None:
    folder = tmp_path / "50"
    folder.mkdir()
    (folder / "stat").write_text("50 (python3) S 1 " + "0 " * 17 + "10000 0 0\n")  # began 100 s after boot
    (folder / "status").write_text("Uid:\t1000\t1000\t1000\t1000\n")
    found, read = Table(str(tmp_path)), []
    for second in range(105, 700, 5):
        (folder / "cmdline").write_bytes(b"python3\0began-at-%d" % second)
        found.refresh(float(second), frozenset())
        if found.changed:
            read.append(second)
    assert read == [105, 125, 205, 525]


@pytest.mark.parametrize(("comm", "is_read"), [("sleep", False), ("fetch.sh", False), ("python3.11", True)])
def test_what_cannot_give_itself_a_title_is_read_again_only_if_its_name_is_another(
    tmp_path: Path, comm: str, is_read: bool
) -> None:
    folder = tmp_path / "50"
    folder.mkdir()
    stat = "50 ({}) S 1 " + "0 " * 17 + "10000 0 0\n"  # began 100 s after boot
    (folder / "stat").write_text(stat.format(comm))
    (folder / "status").write_text("Uid:\t1000\t1000\t1000\t1000\n")
    (folder / "cmdline").write_bytes(comm.encode() + b"\0one")
    found = Table(str(tmp_path))
    found.refresh(105.0, frozenset())
    (folder / "cmdline").write_bytes(comm.encode() + b"\0two")
    found.refresh(200.0, frozenset())
    assert (found.processes[50].argv == (comm, "two")) is is_read
    (folder / "stat").write_text(stat.format("vllm"))
    (folder / "cmdline").write_bytes(b"vllm\0serve")
    for turn in range(TURNS):
        found.refresh(2000.0 + 5.0 * turn, frozenset())
    assert found.processes[50].argv == ("vllm", "serve"), "another program"


def test_a_script_that_becomes_its_server_after_an_hour_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.serving.proc.table.AGAIN", float("inf"))
    monkeypatch.setattr("agent.sources.serving.proc.table.TURNS", 1)
    (tmp_path / "vllm").write_text("import sys; print(1, flush=True); sys.stdin.read()")
    script = ["sh", "-c", 'echo 0; read go; exec "$0" -I -S "$1" serve m', sys.executable, str(tmp_path / "vllm")]
    scan = Scan("/proc", "/sys", str)
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdout.readline()
            sight = scan.look(Held({}), time.time())
            assert process.pid not in {group.processes[0].pid for group in sight.groups}
            process.stdin.write(b"go\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"1\n"
            assert scanned(pid=process.pid, scan=scan).processes[0].argv[-2:] == ("serve", "m")
        finally:
            process.kill()


def test_long_command_lines_take_a_bounded_place_and_hide_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.serving.proc.table.HELD_BYTES", 0)
    long = ["x" * 300, *["y"] * 600]
    (tmp_path / "vllm").write_text("import sys; print(1, flush=True); sys.stdin.read()")
    command = [sys.executable, "-I", "-S", str(tmp_path / "vllm"), "serve", "m", *long]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for bound, words, longest in ((0, 12, 256), (1 << 20, 512, 300)):
                monkeypatch.setattr("agent.sources.serving.proc.table.HELD_BYTES", bound)
                argv = scanned(pid=process.pid).processes[0].argv
                assert (argv[4:6], len(argv), len(argv[6])) == (("serve", "m"), words, longest)
        finally:
            process.kill()


def test_a_vital_part_that_goes_or_is_defunct_is_named() -> None:
    root, core = proc(11, 1, "vllm serve m"), proc(12, 11, "VLLM::EngineCore")
    says, seen = missing([root, core], frozenset())
    assert (says, seen) == ("", frozenset({"VLLM::EngineCore"}))
    assert missing([root], seen)[0] == "VLLM::EngineCore is gone"
    assert missing([root, proc(12, 11, "VLLM::EngineCore", zombie=True)], seen)[0] == "VLLM::EngineCore is defunct"


def test_an_environment_that_is_hidden_is_not_guessed(tmp_path: Path) -> None:
    devices = Devices(str(tmp_path))
    assert devices.of([proc(9, 1, "x")], {}, ("GPU-0",), in_container=False) == ((), "none")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "comm").write_text("nvidia-cuda-mps-server\n"[:15])
    assert Devices(str(tmp_path)).of([proc(9, 1, "x")], {7: ("GPU-0",)}, ("GPU-0",), in_container=False) == (
        (),
        "hidden",
    )


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
wg0\t0000050A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tap0\t0000060A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br1\t0000070A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
bond1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("172.17.0.2", True),  # behind a bridge of veths
        ("192.0.2.9", False),  # the way out
        ("198.51.100.1", False),  # through a gateway
        ("10.1.2.3", False),  # a bond of hardware
        ("10.5.2.3", False),  # a tunnel that is no Ethernet
        ("10.6.2.3", False),  # a tunnel that is
        ("10.7.2.3", False),  # a bridge that goes on elsewhere
        ("172.17.0.1", False),  # the host's own: somebody gave it to a namespace of his
        ("2001:db8::1", False),
    ],
)
def test_a_containers_address_counts_only_if_it_is_on_this_host_for_sure(
    tmp_path: Path, address: str, is_ours: bool
) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(ROUTES)
    for name in ("eth0/device", "docker0/lower_veth1", "veth1/x", "bond1/lower_eth5", "eth5/device"):
        (tmp_path / "class/net" / name).mkdir(parents=True)
    for name, number in (("docker0", 1), ("veth1", 1), ("wg0", 65534), ("tap0", 1), ("br1", 1), ("vxlan1", 1)):
        (tmp_path / "class/net" / name).mkdir(exist_ok=True)
        (tmp_path / "class/net" / name / "type").write_text(f"{number}\n")
    (tmp_path / "class/net/tap0/tun_flags").write_text("0x1002\n")
    (tmp_path / "class/net/br1/lower_vxlan1").mkdir()
    (tmp_path / "class/net/vxlan1/uevent").write_text("DEVTYPE=vxlan\nINTERFACE=vxlan1\n")
    own = frozenset({"172.17.0.1"})
    assert network.reachable([address], own, str(tmp_path), str(tmp_path)) == (address if is_ours else "")


@contextmanager
def namespace() -> Iterator[tuple[str, str]]:
    """(name, address) of a network namespace joined to this one by a pair of interfaces."""
    require("root and network namespaces", has_root() and has_command("ip"))
    name, number = f"gcserv{secrets.token_hex(3)}", secrets.randbelow(200) + 20
    ours, theirs = f"10.213.{number}.1", f"10.213.{number}.2"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name[:12]}a", "type", "veth", "peer", "name", "in0", "netns", name)
        ip("addr", "add", f"{ours}/30", "dev", f"{name[:12]}a")
        ip("link", "set", f"{name[:12]}a", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{theirs}/30", "dev", "in0"),
            ("link", "set", "in0", "up"),
        ):
            ip("-n", name, *words)
        yield name, theirs
    finally:
        ip("netns", "del", name)


async def test_a_server_in_a_network_namespace_is_asked_at_its_own_address_never_at_our_loopback(
    tmp_path: Path,
) -> None:
    with namespace() as (name, address), engine(tmp_path, 0, "0.0.0.0", ("ip", "netns", "exec", name)) as (pid, port):
        group = scanned(pid=pid)
        assert [(one.address, one.port, one.local) for one in group.listeners] == [(address, port, False)]
        client = HttpClient(SystemClock())
        client.allow(frozenset({address}))
        answer = await client.fetch(Endpoint(address, port), Ask("/health"))
        assert (answer.status, answer.body) == (200, b"ok")


def test_one_that_listens_on_its_namespaces_loopback_says_so_and_is_not_asked(tmp_path: Path) -> None:
    with namespace() as (name, _), engine(tmp_path, 0, "127.0.0.1", ("ip", "netns", "exec", name)) as (pid, _):
        with engine(tmp_path, 0, "127.0.0.1", ("ip", "netns", "exec", name)) as (other, _):
            sight = Scan("/proc", "/sys", str).look(Held({}), time.time())
        group = next(group for group in sight.groups if group.processes[0].pid == pid)
        assert group.listeners == ()
        assert "loopback of a network namespace" in group.apart
        (said,) = [reason.says for reason in sight.reasons if "loopback" in reason.says]
        assert said.startswith("each engine of pids ")
        assert {str(pid), str(other)} <= set(said.replace(",", "").split())


def test_what_other_users_hide_is_found_by_port_and_user(tmp_path: Path) -> None:
    require("root and setpriv", has_root() and has_command("setpriv"))
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if str(folder).startswith("/tmp/") and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = (
        "import sys, time; from agent.sources.serving.proc.scan import Held, Scan\n"
        "groups = Scan('/proc', '/sys', str).look(Held({}), time.time()).groups\n"
        "print([[x.port for x in g.listeners] for g in groups if g.processes[0].pid == int(sys.argv[1])][0])"
    )
    with engine(tmp_path, port) as (pid, _):
        command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", code, str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=Path(__file__).parents[3])
    unreadable = "Permission denied" in done.stderr or "ModuleNotFoundError" in done.stderr
    may_lack("a checkout that everybody can read", not unreadable)
    assert done.stdout.strip() == f"[{port}]", done.stderr
