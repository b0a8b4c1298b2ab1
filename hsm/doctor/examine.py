"""In which order are the trials made, and what happens between them? It runs in a process of its own.

A module may crash or hang; `apart.py` looks after that from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress

from pkcs11.exceptions import PKCS11Error

from hsm import connection, module
from hsm.doctor import barriers, basics, delivery, deriving, holdings, loading
from hsm.doctor.bench import Bench, Plan, why
from hsm.doctor.findings import Finding, Result
from hsm.errors import DeviceError, StartupError
from hsm.uri import TokenUri

_TRIALS: dict[str, Callable[[Bench], Finding]] = {
    "mechanisms": basics.mechanisms,
    "memory": holdings.memory,
    "generate_secret": basics.generate_secret,
    "mac_known_answer": basics.mac_known_answer,
    "verify_known_answer": basics.verify_known_answer,
    "public_key_private": basics.public_key_private,
    "stored_public_key": basics.stored_public_key,
    "stored_secret": basics.stored_secret,
    "stored_pair": basics.stored_pair,
    "random": basics.random,
    "never_extractable": barriers.never_extractable,
    "allowed_mechanisms": barriers.allowed_mechanisms,
    "modifiable": barriers.modifiable,
    "import_key": delivery.import_key,
    "aes_wrap": delivery.aes_wrap,
    "deliver_copy_down": delivery.deliver_copy_down,
    "deliver_flip": delivery.deliver_flip,
    "deliver_unwrap_again": delivery.deliver_unwrap_again,
    "rsa_wrap": delivery.rsa_wrap,
    "seal_copy_down": delivery.seal_copy_down,
    "seal_flip": delivery.seal_flip,
    "seal_unwrap_again": delivery.seal_unwrap_again,
    "derive": deriving.derive,
    "derive_cbc": deriving.derive_cbc,
    "threads": loading.threads,
    "sessions": loading.sessions,
    "latency_mac": loading.latency_mac,
    "latency_verify": loading.latency_verify,
    "latency_sign": loading.latency_sign,
    "latency_generate": loading.latency_generate,
    "search": loading.search,
    "inventory": holdings.inventory,
}


def examine(where: TokenUri, plan: Plan, begin: Callable[[str], None]) -> Generator[Finding, None, None]:
    """Make every trial; `begin` is told each before it is made. Ends early where nothing more can be tried."""
    assert where.module_path
    assert where.token
    assert where.pin_source
    begin("module")
    try:
        loaded = module.load(where.module_path)
        yield Finding(trial="module", result=Result.WORKS, figures={"path": where.module_path})
        begin("token")
        token = loaded.token(where.token)
        yield _token_found(token)
        begin("login")
        login = connection.log_in(loaded, token, where.pin_source)
    except (DeviceError, PKCS11Error) as exc:
        yield Finding(trial=_stage(exc), result=Result.FAILS, remark=why(exc))
        return
    yield Finding(trial="login", result=Result.WORKS)
    bench = Bench(loaded, token, plan)
    try:
        begin("leftovers")
        yield _leftovers(bench)
        for name, trial in _TRIALS.items():
            begin(name)
            bench.begin()
            yield _made(name, trial, bench)
    finally:
        with suppress(PKCS11Error):
            bench.begin()
            bench.clear()
        bench.end()
        with suppress(PKCS11Error):
            login.close()


def _stage(exc: Exception) -> str:
    if isinstance(exc, StartupError):
        kinds = {"ModuleUnusable": "module", "TokenMissing": "token"}
        return kinds.get(type(exc).__name__, "login")
    return "login"


def _token_found(token: object) -> Finding:
    names = ("label", "manufacturer_id", "model")
    figures = {name: str(getattr(token, name, "")) for name in names}
    remark = f"{figures['manufacturer_id']} {figures['model']}".strip()
    return Finding(trial="token", result=Result.WORKS, remark=remark, figures=figures)


def _leftovers(bench: Bench) -> Finding:
    removed = bench.clear()
    remark = f"{removed} objects were left, and are removed" if removed else ""
    return Finding(trial="leftovers", result=Result.WORKS, remark=remark, figures={"removed": removed})


def _made(name: str, trial: Callable[[Bench], Finding], bench: Bench) -> Finding:
    try:
        return trial(bench)
    except Exception as exc:  # noqa: BLE001  # whatever a module brings about is a finding
        return Finding(trial=name, result=Result.FAILS, remark=why(exc))
    finally:
        with suppress(PKCS11Error):
            bench.begin()
            bench.clear()
