"""A real Prometheus that scrapes gateways, and what it answers."""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from gateway import REPOSITORY, free_ports

PROGRAM = REPOSITORY / ".cache/prometheus/prometheus"
# Far above what anything here takes; a machine may be busy with other tests.
SECONDS = 120


class Prometheus:
    """A running server with a folder of its own."""

    def __init__(self, folder: Path, targets: list[str], rules: list[Path], scrape: str):
        assert PROGRAM.is_file(), f"{PROGRAM} is missing: run `make setup-tests`"
        folder.mkdir()
        self.log = folder / "log"
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": scrape},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [{"job_name": "modelgate", "static_configs": [{"targets": targets}]}],
        }
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(config))
        command = [
            str(PROGRAM), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]  # fmt: skip
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        try:
            self.wait_until("it is ready", self.is_ready)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The samples of an instant vector."""
        asked = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{asked}", timeout=60) as answer:
                found = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in found["result"]]

    def wait_until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert self.process.poll() is None, f"Prometheus ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}\n{self.tail()}"
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"Prometheus did not stop:\n{self.tail()}") from None

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]
