"""Run in a namespace: prints CLOCK_MONOTONIC of every frame that leaves by a device, one a line.

After a cable is plugged in, the kernel at its far end may take up to a second until it sends again (its link watch
looks once a second): that moment, and not the plug, is when the network is back.
"""

import socket
import sys
import time

_EVERYTHING, _OUTGOING = 3, 4  # ETH_P_ALL, PACKET_OUTGOING


def _main(device: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING)) as cable:
        cable.bind((device, 0))
        print("0", flush=True)
        while True:
            try:
                _, address = cable.recvfrom(64)
            except OSError:
                continue  # the device is down
            if address[2] == _OUTGOING:
                print(time.monotonic(), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
