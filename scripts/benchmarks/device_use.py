"""Which operations does one request ask of the token? Read from the figures that the gateway publishes."""

import re
import urllib.request
from collections import Counter
from collections.abc import Sequence

from tests.gateways import free_port

_LINE = re.compile(r"^countersign_device_operations_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_KIND, _WELL = re.compile(r'kind="(\w+)"'), 'outcome="ok"'
_TURNS = ("turn", "look")  # they hold others


def free_ports(workers: int) -> int:
    """Return a port after which as many are likely to be free as there are workers: each takes the next one."""
    return min(free_port(), 65535 - workers)


def operations(first_ports: Sequence[int], workers: int) -> Counter[str]:
    """Return how many operations of each kind all processes together have done so far."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found: Counter[str] = Counter()
    for port in (first + number for first in first_ports for number in range(workers)):
        with direct.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            for labels, count in _LINE.findall(answer.read().decode()):
                kind = _KIND.search(labels)
                if kind is not None and _WELL in labels:
                    found[kind[1]] += int(float(count))
    return Counter({kind: count for kind, count in found.items() if kind not in _TURNS})
