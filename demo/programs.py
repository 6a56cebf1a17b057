"""Starting programs, waiting for them, and asking them over HTTP."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


class Missing(Exception):
    """A step of the demonstration that did not come about."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url: str, body: object = None) -> object:
    """GET, or POST of JSON; the answer's JSON, or its text where it is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise Missing(f"{url}: {error.code} {error.read().decode()}") from None
    try:
        return json.loads(text)
    except ValueError:
        return text


def run(*command: object) -> str:
    """What a program prints; a failure is the end of the demonstration."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def wait(what: str, seconds: float, seen: Callable[[], object]) -> object:
    """The first answer that is anything; asks every half second."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = seen()
        except (OSError, Missing):
            found = None
        if found:
            return found
        if time.monotonic() > until:
            raise Missing(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)


class Programs:
    """Everything that runs beside the script, each with a log of its own; stopped at the end."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *command: object, ready: str) -> None:
        environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}
        with open(self.folder / f"{name}.log", "wb") as log:
            words = [str(word) for word in command]
            self.running[name] = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

        def is_ready() -> bool:
            if self.running[name].poll() is not None:
                raise SystemExit(f"{name} ended:\n{(self.folder / f'{name}.log').read_text()[-2000:]}")
            ask(ready)
            return True

        wait(f"{name} is ready", 120, is_ready)

    def stop(self) -> None:
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
