"""Does asking whether a process lives leave database and token alone, and whether it is ready tell of both?"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from gateway.api.health import health_routes
from hsm.device import Device
from tests.scenarios.bench import opened_bench
from tests.store.databases import migrated_database


def test_a_process_lives_and_is_not_ready_without_token_and_database(
    tmp_path: Path, own_device_uri: str, own_device: Device
):
    device = Device.open(own_device_uri)
    with migrated_database("sqlite", tmp_path) as database, opened_bench(database, device) as bench:
        asked = TestClient(Starlette(routes=health_routes(bench.ctx)))
        done = device.snapshot().operations
        assert asked.get("/livez").status_code == 200
        assert device.snapshot().operations == done
        assert (asked.get("/readyz").status_code, asked.get("/readyz").json()["device"]) == (200, "ok")
        device.close()
        database.close()
        (tmp_path / "countersign.db").unlink()
        bench.clock.move(seconds=2)
        assert asked.get("/livez").json() == {"status": "alive"}
        ready = asked.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert ready.json()["device"].startswith("away")
