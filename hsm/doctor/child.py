"""What does the process do in which the trials are made? It tells each step at once, for it may be its last."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing

from hsm.doctor.bench import Plan
from hsm.doctor.examine import examine
from hsm.uri import TokenUri


def main() -> int:
    """Arguments: the number of the pipe, and what is asked, as JSON."""
    pipe, asked = int(sys.argv[1]), json.loads(sys.argv[2])
    where = TokenUri.parse(asked["uri"])

    def tell(told: dict[str, object]) -> None:
        os.write(pipe, json.dumps(told).encode() + b"\n")

    def begin(trial: str) -> None:
        tell({"begin": trial})

    # Closed, the generator clears the token up: also when nobody listens any more, or at Ctrl-C.
    with closing(examine(where, Plan(**asked["plan"]), begin)) as findings:
        for finding in findings:
            tell(finding.to_json())
            if asked["only_clear"] and finding.trial == "leftovers":
                break
    return 0


if __name__ == "__main__":
    sys.exit(main())
