"""Three real gateways, of which one restarts, and a real Prometheus with the rules that modelgate makes."""

import subprocess
from dataclasses import dataclass

import numpy as np
import onnxruntime
import pandas as pd
import tritonclient.http as client
from sklearn.datasets import load_breast_cancer

from gateway import Gateway, binary
from models import folder
from prometheus import Prometheus

MODEL, VERSION = "breast-cancer", "2"
# Rows that each gateway gets, in two halves; the last one restarts in between.
PARTS = [900, 1300, 800]
# Columns whose values are not those of the reference any more.
DRIFTED = {"input_3": 1.3, "input_20": 0.75}
LACKING = "input_7"
# Scrapes of each gateway: by how much of the time between two of them increase() may be wrong.
SCRAPES = 60
SCORES = "model_feature:modelgate_drift_"
WINDOW = 'role="primary",window="1h"'


@dataclass(frozen=True)
class Fleet:
    prometheus: Prometheus
    gateways: list[Gateway]
    offline: dict[str, dict]

    def scores(self, name: str) -> dict[str, float]:
        """What a rule says of every feature in the short window."""
        return of_features(self.prometheus, f'{SCORES}{name}{{{WINDOW}}}')


def of_features(prometheus: Prometheus, expression: str) -> dict[str, float]:
    return {labels["feature"]: value for labels, value in prometheus.query(expression)}


def modelgate(*arguments: object) -> str:
    command = [binary(), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, f"{command}: {ended.stderr}"
    return ended.stdout


def rows(count: int, seed: int) -> np.ndarray:
    """Rows like those that the model was trained on, but never the same."""
    random = np.random.default_rng(seed)
    data = load_breast_cancer().data
    picked = data[random.integers(len(data), size=count)]
    return (picked * random.normal(1, 0.02, size=picked.shape)).astype(np.float32)


def drifted(rows: np.ndarray) -> np.ndarray:
    for column, factor in DRIFTED.items():
        rows[:, int(column.removeprefix("input_"))] *= factor
    rows[::20, int(LACKING.removeprefix("input_"))] = np.nan
    return rows


def table(rows: np.ndarray) -> pd.DataFrame:
    session = onnxruntime.InferenceSession(folder(MODEL) / VERSION / "model.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"input": rows})
    # As 64-bit numbers, which a file holds to the last bit.
    columns = {f"input_{at}": rows[:, at].astype(np.float64) for at in range(rows.shape[1])}
    return pd.DataFrame(columns | {"score": probabilities[:, 1].astype(np.float64)})


def serve(prometheus: Prometheus, gateways: list[Gateway], live: pd.DataFrame) -> None:
    """Sends each gateway its part in two halves. Prometheus sees every counter at 0 before it rises
    and all of it before it falls, as in hours of traffic it would but for a scrape or two."""
    values = live.filter(like="input_").to_numpy(np.float32)
    parts = np.split(values, np.cumsum(PARTS)[:-1])
    sent = dict.fromkeys((gateway.metrics for gateway in gateways), 0)
    wait_until_seen(prometheus, sent)
    for half in range(2):
        if half == 1:
            gateways[-1].restart()
            sent[gateways[-1].metrics] = 0
            wait_until_seen(prometheus, sent)
        for gateway, part in zip(gateways, parts, strict=True):
            mine = np.array_split(part, 2)[half]
            for batch in np.array_split(mine, 10):
                predict(gateway, batch)
            sent[gateway.metrics] += len(mine)
        wait_until_seen(prometheus, sent)


def predict(gateway: Gateway, batch: np.ndarray) -> None:
    with client.InferenceServerClient(gateway.http, network_timeout=60, connection_timeout=60) as http:
        tensor = client.InferInput("input", list(batch.shape), "FP32")
        tensor.set_data_from_numpy(np.ascontiguousarray(batch))
        outputs = [client.InferRequestedOutput("probabilities"), client.InferRequestedOutput("label")]
        http.infer(MODEL, [tensor], VERSION, outputs=outputs)


def wait_until_seen(prometheus: Prometheus, sent: dict[str, int]) -> None:
    """Waits until the last scrape of each gateway has as many rows as it got."""
    rows = 'sum by (instance) (modelgate_drift_observations_total{feature="input_0",role="primary"})'

    def seen() -> bool:
        return {labels["instance"]: value for labels, value in prometheus.query(rows)} == sent

    prometheus.wait_until(f"Prometheus has counted {sent}", seen)


def wait_until_scored(prometheus: Prometheus, offline: dict[str, dict]) -> None:
    """Waits until every gateway was scraped often enough, and all scores are of all rows."""
    scrapes = 'min(count_over_time(modelgate_drift_observations_total{feature="input_0",bin="00"}[1h]))'
    prometheus.wait_until(f"{SCRAPES} scrapes", lambda: prometheus.query(scrapes)[0][1] >= SCRAPES)
    counts, last = f"{SCORES}observations:increase{{{WINDOW}}}", f"{SCORES}z{{{WINDOW}}}"

    def counted() -> bool:
        found = of_features(prometheus, counts)
        return all(found.get(name, 0) >= 0.999 * column["rows"] for name, column in offline.items())

    prometheus.wait_until("the rules have all rows", counted)
    # The rules of one evaluation have one time, and those that count come first.
    ((_, since),) = prometheus.query(f"max(timestamp({counts}))")
    prometheus.wait_until("scores are of all rows", lambda: prometheus.query(f"min(timestamp({last}))")[0][1] >= since)
