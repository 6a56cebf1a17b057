"""A model that ages, from the first sign to the version that takes its place. Run by `make demo`.

A gateway serves a model of loans; a real Prometheus and Alertmanager watch it. After a while the
world changes, in two known columns, at a known moment. What has to follow is checked step by step
and printed with its time: the alarm for these columns and no others, one request for training with
the evidence, a worker that trains on what was recorded and pushes a version with a profile of its
own, a shadow, its promotion, and quality as it was before. Exit code 1 where a step is missing.
"""

import argparse
import json
import secrets
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from loans import DRIFTED, NUMBERS, PURPOSE, TRUTH, applications
from programs import REPOSITORY, Missing, Programs, ask, free_port, run, wait
from train import train
from worker import MODEL, build_profile

# Requests a second, and seconds of each part of the traffic.
RATE = 120
BEFORE, CHANGING, AFTER = 50, 10, 300
# The truth about a loan is known so many seconds after it was asked for.
DELAY = 4
WINDOW_S = 30
ROWS_TO_TRAIN = 6000
SHADOWED = 300
INPUTS = {*NUMBERS, PURPOSE}


class Timeline:
    def __init__(self):
        self.begun = time.monotonic()

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun:6.1f} s  {text}", flush=True)


class Demo:
    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder = options, folder
        self.programs = Programs(folder)
        self.timeline = Timeline()
        names = ["http", "grpc", "metrics", "admin", "worker", "prometheus", "alertmanager"]
        self.ports = {name: free_port() for name in names}

    def at(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def run(self) -> None:
        tell = self.timeline.tell
        self.make_first_version()
        self.start_gateway()
        self.start_watching()
        self.start_worker()
        self.start_traffic()
        tell(f"traffic: {RATE} requests a second; in {BEFORE} s {' and '.join(sorted(DRIFTED))} change")

        quiet = wait("quality of version 1 before the change", BEFORE, lambda: self.accuracy(1, 1000))
        tell(f"version 1 is right about {quiet:.1%} of people")
        self.sleep_until(BEFORE - 2)
        self.check("no feature is alarmed before the change", not self.alarmed())
        self.check("nothing is requested before the change", self.requests() == 0)
        self.sleep_until(BEFORE)
        tell("the world begins to change")

        wait("an alarm on Prometheus", 120, lambda: DRIFTED <= self.alarmed())
        self.check(f"inputs that are alarmed are {sorted(DRIFTED)}", self.alarmed() & INPUTS == DRIFTED)
        wait("the alarm reaches Alertmanager", 60, self.alerted)
        tell("Prometheus and Alertmanager: ModelFeatureDrift of these columns and of no other input")

        wait("a request for training", 120, lambda: self.requests() == 1)
        event = wait("the event reaches the worker", 60, self.event)
        features = {feature["name"] for feature in event["data"]["features"]}
        reason, quality = event["data"]["reason"], event["data"]["quality"]
        self.check("the event names what drifted", DRIFTED <= features)
        told = f"; {quality['metric']} is {quality['current']:.3f}, was {quality['reference']:.3f}" if quality else ""
        tell(f"training is requested, for {reason}: {', '.join(sorted(features))}{told}")

        wait("version 2 is ready", 240, lambda: self.is_ready(2))
        aged = self.accuracy(1, 1000)
        tell(f"the worker pushed version 2; of all answers so far version 1 was right about {aged:.1%}")
        self.apply_route({"version": 2, "percent": 100, "cpuPercent": 100})
        compared = wait("the shadow is compared", 120, self.compared)
        tell(f"version 2 is a shadow: {compared} of its answers were compared with those of version 1")
        self.modelgate("traffic", "promote", MODEL, "--version", 2, "--reason", "the shadow is sound")
        tell("version 2 is promoted")

        fresh = wait("labels of version 2", 120, lambda: self.accuracy(2, 1000))
        tell(f"version 2 is right about {fresh:.1%} of people")
        self.check("quality is as it was before", fresh > quiet - 0.06)
        self.check("training was requested once", self.requests() == 1)
        steps = wait("the lineage to its end", 60, self.lineage)
        tell(f"lineage: {' > '.join(steps)}")
        print(self.modelgate("retrain", MODEL))

    # What runs.

    def make_first_version(self) -> None:
        data = applications(20_000, seed=1)
        accuracy = train(data, self.folder / "first")
        profile = self.folder / "first" / "profile.json"
        build_profile(self.options.modelgate, self.folder / "first", profile)
        (self.folder / "registry").mkdir()
        run(
            self.options.modelgate, "push", self.folder / "first" / "model.onnx", MODEL,
            "--to", self.folder / "registry", "--profile", profile,
        )  # fmt: skip
        self.timeline.tell(f"version 1 is trained ({accuracy:.1%} of held-out people) and pushed with its profile")

    def start_gateway(self) -> None:
        self.secret = secrets.token_hex(16)
        config = {
            "models": {"defaults": {"versions": {"latest": 2}}},
            "drift": {"windows_ms": [WINDOW_S * 1000, 120_000], "every_ms": 1000, "hold_ms": 5000, "keep_ms": 20_000},
            "predictions": {"segment_age_ms": 3000, "models": {MODEL: {"features": {PURPOSE: "keep"}}}},
            "retrain": {
                "dry_run": False, "evaluate_ms": 2000, "min_coverage": 0.5, "cooldown_ms": 3_600_000,
                "deliver": {"to": "cloudevent", "url": f"http://{self.at('worker')}/", "secret": self.secret},
            },
        }  # fmt: skip
        path = self.folder / "modelgate.yaml"
        # JSON is YAML.
        path.write_text(json.dumps(config))
        listeners = [word for name in ["http", "grpc", "metrics", "admin"] for word in (f"--{name}", self.at(name))]
        self.programs.start(
            "gateway", self.options.modelgate, "serve", "--config", path, "--models", self.folder / "registry",
            "--data", self.folder / "data", *listeners, ready=f"http://{self.at('http')}/v2/models/{MODEL}/ready",
        )  # fmt: skip
        self.apply_route(None)

    def start_watching(self) -> None:
        rules = self.folder / "drift.rules.yaml"
        rules.write_text(
            self.modelgate(
                "profile", "rules", "--window", f"{WINDOW_S}s", "--long-window", "2m", "--for", "5s",
                "--keep-firing-for", "20s",
            )  # fmt: skip
        )
        route = {"receiver": "modelgate", "group_wait": "1s", "group_interval": "2s", "group_by": ["..."]}
        hook = f"http://{self.at('admin')}/admin/v1/hooks/alertmanager"
        alertmanager = self.folder / "alertmanager.yaml"
        alertmanager.write_text(
            json.dumps({"route": route, "receivers": [{"name": "modelgate", "webhook_configs": [{"url": hook}]}]})
        )
        tools = REPOSITORY / ".cache" / "prometheus"
        self.programs.start(
            "alertmanager", REPOSITORY / "scripts" / "alertmanager.sh", f"--config.file={alertmanager}", "--cluster.listen-address=",
            f"--storage.path={self.folder / 'alertmanager'}", f"--web.listen-address={self.at('alertmanager')}",
            ready=f"http://{self.at('alertmanager')}/-/ready",
        )  # fmt: skip
        prometheus = self.folder / "prometheus.yaml"
        prometheus.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(rules)],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": [self.at("alertmanager")]}]}]},
                    "scrape_configs": [
                        {"job_name": "modelgate", "static_configs": [{"targets": [self.at("metrics")]}]}
                    ],
                }
            )
        )
        self.programs.start(
            "prometheus", tools / "prometheus", f"--config.file={prometheus}",
            f"--storage.tsdb.path={self.folder / 'prometheus'}", f"--web.listen-address={self.at('prometheus')}",
            ready=f"http://{self.at('prometheus')}/-/ready",
        )  # fmt: skip

    def start_worker(self) -> None:
        self.programs.start(
            "worker", sys.executable, REPOSITORY / "demo" / "worker.py", "--listen", self.ports["worker"],
            "--secret", self.secret, "--data", self.folder / "data", "--registry", self.folder / "registry",
            "--work", self.folder / "work", "--modelgate", self.options.modelgate, "--query", self.options.query,
            "--rows", ROWS_TO_TRAIN, ready=f"http://{self.at('worker')}/",
        )  # fmt: skip

    def start_traffic(self) -> None:
        """All requests in their order, by loadtest; labels follow them."""
        seconds = BEFORE + CHANGING + AFTER
        when = np.arange(seconds * RATE) / RATE
        people = applications(len(when), seed=2, change=np.clip((when - BEFORE) / CHANGING, 0, 1))
        requests = self.folder / "requests.jsonl"
        with open(requests, "w") as lines:
            for at, person in enumerate(people.to_dict("records")):
                inputs = [
                    {"name": name, "datatype": "FP32", "shape": [1, 1], "data": [person[name]]} for name in NUMBERS
                ]
                inputs.append({"name": PURPOSE, "datatype": "BYTES", "shape": [1, 1], "data": [person[PURPOSE]]})
                lines.write(json.dumps({"id": f"loan-{at:06}", "inputs": inputs}) + "\n")
        self.traffic_begun = time.monotonic()
        self.programs.start(
            "loadtest", self.options.loadtest, "--url", self.at("http"), "--model", MODEL, "--input", requests,
            "--rate", RATE, "--warmup", "0s", "--duration", f"{seconds}s", "--connections", 8,
            ready=f"http://{self.at('http')}/v2/models/{MODEL}/ready",
        )  # fmt: skip
        truth = people[TRUTH].to_numpy()
        threading.Thread(target=self.tell_truth, args=(truth,), daemon=True).start()

    def tell_truth(self, truth: np.ndarray) -> None:
        told = 0
        while told < len(truth):
            time.sleep(1)
            known = int((time.monotonic() - self.traffic_begun - DELAY) * RATE)
            labels = [
                {"id": f"loan-{at:06}", "label": str(truth[at])} for at in range(told, min(known, len(truth)))
            ]
            for first in range(0, len(labels), 1000):
                try:
                    ask(f"http://{self.at('http')}/v1/feedback", labels[first : first + 1000])
                except (OSError, Missing):
                    return
            told = max(told, known)

    def apply_route(self, shadow: dict | None) -> None:
        spec: dict = {"variants": [{"name": "champion", "version": 1}]}
        if shadow:
            spec["shadow"] = shadow
        route = {"apiVersion": "modelgate.dev/v1", "kind": "Route", "metadata": {"name": MODEL}, "spec": spec}
        ask(f"http://{self.at('admin')}/admin/v1/routes", {"routes": [route], "actor": "demo"})

    def modelgate(self, *words: object) -> str:
        url = [] if words[0] == "profile" else ["--url", f"http://{self.at('admin')}"]
        return run(self.options.modelgate, words[0], *url, *words[1:])

    # What is seen.

    def query(self, expression: str) -> list[tuple[dict, float]]:
        from urllib.parse import urlencode

        found = ask(f"http://{self.at('prometheus')}/api/v1/query?{urlencode({'query': expression})}")
        return [(sample["metric"], float(sample["value"][1])) for sample in found["data"]["result"]]

    def alarmed(self) -> set[str]:
        firing = self.query('ALERTS{alertname="ModelFeatureDrift", alertstate="firing", version="1"}')
        return {labels["feature"] for labels, _ in firing}

    def alerted(self) -> bool:
        alerts = ask(f"http://{self.at('alertmanager')}/api/v2/alerts")
        labels = [alert["labels"] for alert in alerts]
        return DRIFTED <= {of["feature"] for of in labels if of["alertname"] == "ModelFeatureDrift"}

    def accuracy(self, version: int, least: int) -> float | None:
        """Of the primary's answers, once there are so many labels."""
        of = f'{{model="{MODEL}", version="{version}", role="primary"}}'
        right, all_ = (
            sum(value for _, value in self.query(f"sum({family}{of})"))
            for family in ["modelgate_quality_correct_total", "modelgate_quality_labelled_total"]
        )
        return right / all_ if all_ >= least else None

    def requests(self) -> int:
        page = ask(f"http://{self.at('metrics')}/metrics")
        lines = [line for line in page.splitlines() if line.startswith("modelgate_retrain_requests_total{")]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)

    def event(self) -> dict | None:
        lines = (self.folder / "worker.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith('{"')]
        return next((event for event in events if event["type"].endswith("requested.v1")), None)

    def is_ready(self, version: int) -> bool:
        ask(f"http://{self.at('http')}/v2/models/{MODEL}/versions/{version}/ready")
        return True

    def compared(self) -> int | None:
        page = ask(f"http://{self.at('metrics')}/metrics")
        wanted = f'modelgate_shadow_requests_total{{route="{MODEL}",outcome="compared"}}'
        found = [line for line in page.splitlines() if line.startswith(wanted)]
        count = sum(int(float(line.rsplit(" ", 1)[1])) for line in found)
        return count if count >= SHADOWED else None

    def lineage(self) -> list[str] | None:
        status = ask(f"http://{self.at('admin')}/admin/v1/retrain")
        model = next(of for of in status["models"] if of["model"] == MODEL)
        steps = [step["step"] for step in model["lineage"]]
        return steps if "promoted" in steps else None

    # Help.

    def sleep_until(self, seconds: float) -> None:
        time.sleep(max(0, self.traffic_begun + seconds - time.monotonic()))

    def check(self, what: str, holds: bool) -> None:
        if not holds:
            raise Missing(f"not so: {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = REPOSITORY / "target" / "debug"
    for name in ["modelgate", "query", "loadtest"]:
        program = "modelgate-query" if name == "query" else name
        parser.add_argument(f"--{name}", type=Path, default=target / program, help="the program")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="modelgate-demo-"))
    demo = Demo(options, folder)
    try:
        demo.run()
    except Missing as missing:
        demo.timeline.tell(f"MISSING: {missing}")
        print(f"logs are in {folder}")
        options.keep = True
        return 1
    finally:
        demo.programs.stop()
        if not options.keep:
            shutil.rmtree(folder)
    demo.timeline.tell("every step was seen")
    return 0


if __name__ == "__main__":
    sys.exit(main())
