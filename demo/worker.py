"""The worker that trains: it takes the event that asks for it, trains on what the gateway recorded
and was told since, and pushes a new version with a profile of its own.

    python demo/worker.py --listen PORT --secret KEY --data FOLDER --registry FOLDER --work FOLDER
                          --modelgate PROGRAM --query PROGRAM --rows N
"""

import argparse
import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd

from loans import NUMBERS, PURPOSE, TRUTH
from programs import Missing, run
from train import train

MODEL = "loans"


class Worker:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.seen: set[str] = set()

    def is_genuine(self, headers, body: bytes) -> bool:
        """As Standard Webhooks say: HMAC-SHA256 of id, time and body."""
        signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
        key = self.options.secret.encode()
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return hmac.compare_digest(headers["webhook-signature"], f"v1,{expected}")

    def take(self, event: dict) -> None:
        """An event may come twice, and asks once."""
        print(json.dumps(event), flush=True)
        if event["type"] != "io.modelgate.retrain.requested.v1" or event["id"] in self.seen:
            return
        self.seen.add(event["id"])
        threading.Thread(target=self.train, args=(event,), daemon=True).start()

    def train(self, event: dict) -> None:
        options = self.options
        since = event["time"]
        while len(rows := self.export(since)) < options.rows:
            print(f"{len(rows)} labelled rows since {since}", flush=True)
            time.sleep(3)
        accuracy = train(rows, options.work / "model", rows["weight"].to_numpy())
        profile = options.work / "profile.json"
        build_profile(options.modelgate, options.work / "model", profile)
        printed = run(
            options.modelgate, "push", options.work / "model" / "model.onnx", MODEL, "--to", options.registry,
            "--profile", profile, "--metric", f"accuracy={accuracy:.3f}", "--tag", f"request={event['id']}",
            "--training-data", f"{len(rows)} rows since {since}",
        )  # fmt: skip
        print(printed, flush=True)

    def export(self, since: str) -> pd.DataFrame:
        """What was recorded and labelled since, in the names that the model was trained by."""
        out = self.options.work / "export.parquet"
        try:
            run(
                self.options.query, "export", "--data", self.options.data, "--for-training", "--model", MODEL,
                "--since", since, "--out", out,
            )  # fmt: skip
        except Missing as refused:
            # Nothing has a label yet.
            print(refused, flush=True)
            return pd.DataFrame()
        rows = pd.read_parquet(out)
        named = {f"f.{name}": name for name in [*NUMBERS, PURPOSE]}
        rows = rows.rename(columns=named)
        rows[TRUTH] = rows["label"].astype(int)
        return rows[[*named.values(), TRUTH, "weight"]]


def build_profile(modelgate: Path, model: Path, out: Path) -> None:
    run(
        modelgate, "profile", "build", "--data", model / "holdout.parquet", "--model", model / "model.onnx",
        "--name", MODEL, "--label", TRUTH, "--prediction", "predicted=label", "--score", "score=probabilities[1]",
        "--out", out,
    )  # fmt: skip


def serve(worker: Worker, port: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            genuine = worker.is_genuine(self.headers, body)
            if genuine:
                worker.take(json.loads(body))
            self.send_response(202 if genuine else 401)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--secret", required=True)
    for name in ["data", "registry", "work", "modelgate", "query"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    serve(Worker(options), options.listen)


if __name__ == "__main__":
    main()
