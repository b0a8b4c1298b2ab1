"""Does the built image work as it will be run? The trial of scripts/image-check."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BUILD_TOOLS = ("gcc", "cc", "make", "pip", "pip3", "git", "curl")


@dataclass
class Image:
    """A stage of the build: its root folder and what the instructions said about running it."""

    root: Path
    env: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    folder: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def start(self, command: Sequence[str], **env: str) -> "subprocess.Popen[str]":
        """Start a command inside, as the image's user."""
        inside = ["chroot", f"--userspec={self.user}", "--groups=", str(self.root), "/usr/bin/env", "-i"]
        inside += [f"{name}={value}" for name, value in (self.env | env).items()]
        inside += ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.folder, *command]
        return subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, command: Sequence[str], **env: str) -> str:
        """Run a command to its end; give its output, or end everything with it when the command fails."""
        process = self.start(command, **env)
        output, _ = process.communicate()
        if process.returncode:
            end = "\n".join(output.splitlines()[-40:])
            sys.exit(f"{shlex.join(command)} ended with {process.returncode}:\n{end}")
        return output


def call(*command: str) -> None:
    """Run a command of this machine; end everything with its output when it fails."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ran.returncode:
        sys.exit(f"{shlex.join(command)} ended with {ran.returncode}:\n{ran.stdout}")


def report(what: str, step: Callable[[], object]) -> None:
    """Run a step, saying what it is and how long it took."""
    began = time.monotonic()
    step()
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)


class Trial:
    """Tries the result as it will be run: unprivileged, on a read-only root, with its volumes to write to."""

    def __init__(self, image: Image) -> None:
        self.image = image

    def all(self) -> None:
        """Try everything, the cheapest first."""
        report("no build tools inside", self.no_build_tools)
        report("nobody privileged, and no file its user could change", self.unprivileged)
        report("from here on with a read-only root", self.make_read_only)
        report("countersign --help", self.help)
        report("init, serve, healthy, stopped by SIGTERM", self.serve)

    def no_build_tools(self) -> None:
        """Refuse compilers, installers and downloaders."""
        found = self.image.run(["/bin/sh", "-c", f"command -v {' '.join(BUILD_TOOLS)} || true"])
        if found:
            sys.exit(f"Build tools in the image: {found}")

    def make_read_only(self) -> None:
        """Mount the root read-only, and memory where volumes and /tmp are."""
        root, (uid, gid) = self.image.root, self.image.user.split(":")
        call("mount", "--rbind", str(root), str(root))
        for volume in self.image.volumes:
            place, owned = str(root / volume.lstrip("/")), f"uid={uid},gid={gid},mode=700"
            call("mount", "-t", "tmpfs", "-o", owned, "volume", place)
        call("mount", "-t", "tmpfs", "-o", "mode=1777", "tmp", str(root / "tmp"))
        call("mount", "-o", "remount,ro,bind", str(root))

    def unprivileged(self) -> None:
        """Refuse root, and files of the image that its user could change."""
        if self.image.run(["id", "-u"]).strip() == "0":
            sys.exit("The image runs as root")
        find = "find /usr /opt /etc /var -type f -writable 2>/dev/null || true"  # it may not look everywhere
        if found := self.image.run(["/bin/sh", "-c", find]):
            sys.exit(f"The image's user could change: {found}")

    def help(self) -> None:
        """Ask for help by the entry point."""
        if "Usage" not in self.image.run([*self.image.entry, "--help"]):
            sys.exit("--help prints no usage")

    def serve(self) -> None:
        """Make a token, set the gateway up on it, serve, wait for the health check, stop."""
        pin, label = "/tmp/pin", "countersign"  # noqa: S108
        (self.image.root / pin.lstrip("/")).write_text("4711-trial")
        token = ["softhsm2-util", "--init-token", "--free", "--label", label]
        self.image.run([*token, "--so-pin", "4711-so", "--pin", "4711-trial"])
        module = "/usr/lib/softhsm/libsofthsm2.so"
        self.image.env["COUNTERSIGN_TOKEN_URI"] = (
            f"pkcs11:token={label}?module-path={module}&pin-source=file:{pin}"
        )
        self.image.run([*self.image.entry, "init"])
        serving = self.image.start([*self.image.entry, *self.image.command])
        self._wait_until_healthy(serving)
        serving.send_signal(signal.SIGTERM)
        output, _ = serving.communicate(timeout=30)
        if serving.returncode not in {0, -signal.SIGTERM}:
            sys.exit(f"serve ended with {serving.returncode}:\n{output}")

    def _wait_until_healthy(self, serving: "subprocess.Popen[str]") -> None:
        for _ in range(60):
            time.sleep(0.5)
            if serving.poll() is not None:
                sys.exit(f"serve ended with {serving.returncode}:\n{serving.communicate()[0]}")
            probe = self.image.start(self.image.health)
            probe.communicate()
            if probe.returncode == 0:
                return
        serving.kill()
        sys.exit(f"not healthy after 30 seconds:\n{serving.communicate()[0]}")
