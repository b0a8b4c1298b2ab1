"""A program that is a thousand phones which wait for transactions: `FILE PORT`, until its input ends.

The file holds accounts and keys. Each phone asks, waits as long as the gateway lets it, and asks again; one that is
turned away because too many come at once asks again after a second. A line is printed when all of them wait; at the
end, how many answers came and how many were turned away.
"""

import asyncio
import contextlib
import json
import random
import sys
from pathlib import Path

from scripts.benchmarks.exchange import PhoneCall
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Account
from tests.counterparts.phone_keys import Keys

_LEAST_SECONDS, _WAIT_SECONDS = 5, 30
_AT_ONCE, _PAUSE = 10, 0.1  # phones that begin at a time, and seconds from some to the next
_BUSY_SECONDS = 1.0
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


def write_phones(phones: list[Phone], file: Path) -> None:
    """Write what the program reads."""
    rows = [
        {"account": phone.account.to_json(), "keys": [each.hex() for each in _secrets(phone.keys)]}
        for phone in phones
    ]
    file.write_text(json.dumps(rows))


def _secrets(keys: Keys) -> tuple[bytes, bytes, bytes]:
    return keys.khmac, keys.kauth, keys.scalar


def _read_phones(file: Path) -> list[Phone]:
    rows = json.loads(file.read_text())
    return [Phone(Account.from_json(row["account"]), Keys(*map(bytes.fromhex, row["keys"]))) for row in rows]


class _Waiting:
    """How many phones wait, and how many answers came."""

    def __init__(self, port: int) -> None:
        self.port, self.answers, self.turned_away = port, 0, 0

    async def connect(self, phone: Phone) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and ask for the first time."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        # As if they had come at any time before: else all of them would ask again at the same moment.
        self._ask(phone, writer, random.randint(_LEAST_SECONDS, _WAIT_SECONDS))  # noqa: S311
        return reader, writer

    def _ask(self, phone: Phone, writer: asyncio.StreamWriter, seconds: int = _WAIT_SECONDS) -> None:
        writer.write(PhoneCall.sign(phone, "transactions.pending", {"wait": seconds}).wire)

    async def go_on(self, phone: Phone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read an answer, ask again, for ever."""
        while True:
            head = (await reader.readuntil(_END_OF_HEAD)).lower()
            start = head.index(_LENGTH) + len(_LENGTH)
            await reader.readexactly(int(head[start:].partition(b"\r")[0]))
            if head.startswith(b"http/1.1 503"):
                self.turned_away += 1
                await asyncio.sleep(_BUSY_SECONDS)
            elif not head.startswith(b"http/1.1 200"):
                raise SystemExit(head.decode())
            else:
                self.answers += 1
            if b"connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            self._ask(phone, writer)


async def _run(phones: list[Phone], port: int) -> None:
    waiting, tasks = _Waiting(port), []
    for start in range(0, len(phones), _AT_ONCE):
        some = phones[start : start + _AT_ONCE]
        for phone, (reader, writer) in zip(
            some, await asyncio.gather(*map(waiting.connect, some)), strict=True
        ):
            tasks.append(asyncio.create_task(waiting.go_on(phone, reader, writer)))
        await asyncio.sleep(_PAUSE)
    await asyncio.sleep(2 * _BUSY_SECONDS)
    print("waiting", flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    first, _ = await asyncio.wait([*tasks, asyncio.ensure_future(ended)], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for each in first:
        with contextlib.suppress(asyncio.CancelledError):
            each.result()
    print(waiting.answers, waiting.turned_away, flush=True)


if __name__ == "__main__":
    asyncio.run(_run(_read_phones(Path(sys.argv[1])), int(sys.argv[2])))
