"""What serves users: replicas, and the pools that they make up."""

from cockpit.cli.commands.command import Command

COMMANDS = (
    Command(
        "replicas", "what serves models: state, queue, latency, GPUs, load balancers", "cockpit.cli.lists:listing",
        more="What needs a human comes first. In --json, a value that an engine does not say is null with\n"
        "its reason; counters count since the engine's start; a quantile that is only a bound says so.\n"
        "`--filter 'engine:vllm stuck'`, `pool:chat-70b`, `model:llama*`, `replica.waiting>10`.",
        is_list=True,
    ),
    Command(
        "pools", "replicas by pool: how many are ready of how many there should be", "cockpit.cli.lists:listing",
        more="A pool is the label of a replica, else its model. How many there should be, and how many must\n"
        "stay ready, says the fleet file: [pools.NAME] expected = 12, floor = 8; else as many as were ever\n"
        "seen. Quantiles are of the last whole minute, over all replicas that tell.",
        is_list=True,
    ),
)  # fmt: skip
