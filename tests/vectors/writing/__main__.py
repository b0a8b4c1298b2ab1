"""Write all vector files, or name those that are not as they should be (--check)."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.vectors.writing import (
    basics,
    door,
    keys,
    messages,
    offline,
    packages,
    proofs,
    reports,
    requests,
    rsa_wrapping,
    secrets,
)
from tests.vectors.writing.case import Case

FOLDER = Path(__file__).resolve().parent.parent
FILES: dict[str, Iterable[Callable[[], Iterator[Case]]]] = {
    "encodings": [basics.tlv_cases, basics.text_cases, basics.time_cases],
    "proofs": [messages.message_cases, proofs.code_cases, proofs.signature_cases],
    "keys": [keys.key_cases],
    "door": [requests.request_cases, door.header_cases, door.body_cases, door.answer_cases],
    "packages": [packages.package_cases, packages.policy_cases, secrets.secret_cases],
    "offline": [offline.offline_cases],
    "reports": [reports.callback_cases, reports.receipt_cases],
}


def contents() -> dict[str, str]:
    """{file name: its text}."""
    texts = {}
    for name, makers in FILES.items():
        document: dict[str, object] = {"reference": "docs/reference/wire.md"}
        if name == "packages":
            private = {"modulus": rsa_wrapping.MODULUS, "private_exponent": rsa_wrapping.private_exponent()}
            document["rsa"] = {part: f"{number:x}" for part, number in private.items()}
        document["cases"] = [case for maker in makers for case in maker()]
        texts[f"{name}.json"] = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    return texts


def main() -> None:
    """Write the files; with --check only compare."""
    texts = contents()
    stale = [name for name, text in texts.items() if not _holds(FOLDER / name, text)]
    if "--check" in sys.argv[1:]:
        sys.exit(f"not as written by scripts/vectors: {', '.join(stale)}" if stale else 0)
    for name in stale:
        (FOLDER / name).write_text(texts[name], encoding="utf-8")
    sys.stdout.write(f"{len(texts)} files, {len(stale)} changed\n")


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
