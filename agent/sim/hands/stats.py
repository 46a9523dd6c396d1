"""What the statistics socket of the simulated HAProxy prints, in the format of 2.6: read by the agent's own parser."""

from agent.sim.hands.balancer import Balancer, Server

# The columns of 2.6, in its order, as far as somebody reads them; all others are empty there too for most servers.
_COLUMNS = (
    "# pxname", "svname", "qcur", "qmax", "scur", "smax", "slim", "stot", "bin", "bout", "dreq", "dresp", "ereq",
    "econ", "eresp", "wretr", "wredis", "status", "weight", "act", "bck", "chkfail", "chkdown", "lastchg", "downtime",
    "qlimit", "pid", "iid", "sid", "throttle", "lbtot", "tracked", "type", "rate", "rate_lim", "rate_max",
    "check_status", "check_code", "check_duration", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx",
    "hrsp_other", "check_desc", "addr",
)  # fmt: skip
_STATE_COLUMNS = (
    "be_id", "be_name", "srv_id", "srv_name", "srv_addr", "srv_op_state", "srv_admin_state", "srv_uweight",
    "srv_iweight", "srv_time_since_last_change", "srv_check_status", "srv_check_result", "srv_check_health",
    "srv_check_state", "srv_agent_state", "bk_f_forced_id", "srv_f_forced_id", "srv_fqdn", "srv_port", "srvrecord",
    "srv_use_ssl", "srv_check_port", "srv_check_addr", "srv_agent_addr", "srv_agent_port",
)  # fmt: skip
_SERVER = "2"  # the type of a line


def answer(balancer: Balancer, command: str) -> str:
    """What it prints to a command that only reads; what it does not know it says so."""
    now = balancer.now()
    if command == "show info":
        up = int(now - balancer.started)
        return f"Name: HAProxy\nVersion: 2.6.12-1+deb12u2\nPid: 1187\nUptime_sec: {up}\nnode: {balancer.home.name}\n"
    if command.startswith("show stat"):
        lines = [",".join(_COLUMNS) + ","]
        lines += [_stat(balancer, server, number, now) for number, server in enumerate(balancer.servers, 1)]
        return "\n".join(lines) + "\n\n"
    if command == "show servers state":
        lines = ["1", "# " + " ".join(_STATE_COLUMNS)]
        lines += [_state(balancer, server, number, now) for number, server in enumerate(balancer.servers, 1)]
        return "\n".join(lines) + "\n\n"
    return "Unknown command. Please enter one of the following commands only\n"


def _stat(balancer: Balancer, server: Server, number: int, now: float) -> str:
    engine = server.engine
    lost, sent = int(engine.lost), int(engine.sent)
    row = {
        "# pxname": balancer.backend, "svname": server.name, "qcur": 0, "qmax": 0, "scur": server.in_flight,
        "stot": sent, "econ": lost, "eresp": 0, "status": server.status, "weight": server.weight, "act": 1, "bck": 0,
        "lastchg": max(0, int(now - server.changed)), "pid": 1, "iid": 3, "sid": number, "lbtot": sent,
        "type": _SERVER, "check_status": "L7OK" if server.up else "L4CON", "check_code": 200 if server.up else "",
        "hrsp_2xx": max(0, sent - lost - int(_failed(server))), "hrsp_5xx": int(_failed(server)),
        "check_desc": "Layer7 check passed" if server.up else "Layer4 connection problem", "addr": server.address,
    }  # fmt: skip
    return ",".join(str(row.get(name, "")) for name in _COLUMNS) + ","


def _failed(server: Server) -> float:
    counted: dict[str, float] = getattr(server.engine, "counted", {})
    return counted.get("failed", 0.0)


def _state(balancer: Balancer, server: Server, number: int, now: float) -> str:
    address, _, port = server.address.rpartition(":")
    operating = 2 if server.up and not server.admin else 0
    since = max(0, int(now - server.changed))
    return (
        f"3 {balancer.backend} {number} {server.name} {address} {operating} {server.admin} {server.weight} 100 {since} "
        f"{6 if server.up else 7} {3 if server.up else 2} {3 if server.up else 0} 6 0 0 0 - {port} - 0 0 - - 0"
    )
