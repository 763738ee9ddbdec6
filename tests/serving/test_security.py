"""Where the server listens; docs/serving.md lists the other threats and their tests."""

import re
import socket
from pathlib import Path

import pytest

LISTENING = "0A"  # a state in Linux' tables of sockets


def listening_addresses(port):
    """Return the addresses at which a port listens, from Linux' own tables."""
    found = set()
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        path = Path("/proc/net") / name
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, digits = local.partition(":")
            if int(digits, 16) == port and state == LISTENING:
                # Words of four bytes, each in the order of the machine.
                words = re.findall("." * 8, address)
                packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
                found.add(socket.inet_ntop(family, packed).removeprefix("::ffff:"))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no tables of sockets")
def test_nothing_listens_beyond_loopback(server):
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert listening_addresses(everywhere.getsockname()[1]) == {"0.0.0.0"}
    for port in (server.rest_port, server.grpc_port):
        assert listening_addresses(port) == {"127.0.0.1"}
