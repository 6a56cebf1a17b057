"""Starts the gateway under test as a process and stops it the way an operator would."""

import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / ".cache/onnxruntime/1.31.1/libonnxruntime.so.1.31.1"
# Above what loading the sample models takes with a development build on a slow machine.
START_SECONDS = 120
STOP_SECONDS = 60


class Gateway:
    """A running `modelgate serve` on ports of its own, and its log."""

    def __init__(self, models: Path, log: Path, config: Path | None = None):
        self.log = log
        self.http, self.grpc, self.metrics, self.admin = (f"127.0.0.1:{port}" for port in free_ports(4))
        self.command = [
            binary(), "serve", "--models", str(models),
            "--http", self.http, "--grpc", self.grpc, "--metrics", self.metrics,
            "--admin", self.admin, "--data", f"{log}.data",
        ]  # fmt: skip
        if "MODELGATE_ONNXRUNTIME" not in os.environ:
            self.command += ["--onnxruntime", str(LIBRARY)]
        if config is not None:
            self.command += ["--config", str(config)]
        self.start()

    def start(self) -> None:
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=subprocess.STDOUT, cwd=REPOSITORY)
        try:
            self.wait_until_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode} at start:\n{self.tail()}")
            if self.is_ready():
                return
            time.sleep(0.05)
        raise AssertionError(f"the gateway was not ready after {START_SECONDS} s:\n{self.tail()}")

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self.http, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait_for_exit(self) -> int:
        """The exit code; kills and fails when the gateway does not end by itself."""
        try:
            return self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the gateway did not stop in {STOP_SECONDS} s:\n{self.tail()}") from None

    def stop(self) -> None:
        self.ask_to_stop()
        code = self.wait_for_exit()
        assert code == 0, f"the gateway ended with {code} after SIGTERM:\n{self.tail()}"

    def restart(self) -> None:
        """As an operator would, on the same ports."""
        self.stop()
        self.start()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


def binary() -> str:
    path = os.environ.get("MODELGATE_BIN")
    if path is None:
        target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
        path = REPOSITORY / target / "debug/modelgate"
    # Relative to where pytest was started, as make and cargo read it.
    path = Path(path).absolute()
    assert path.is_file(), f"{path} is missing: build it, or set MODELGATE_BIN"
    return str(path)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
