"""The fleet, shared by a whole run."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fleet import MODEL, PARTS, VERSION, Fleet, drifted, modelgate, rows, serve, table, wait_until_scored
from gateway import REPOSITORY, Gateway
from models import folder
from prometheus import Prometheus

QUALITY = REPOSITORY / "deploy/prometheus/quality.rules.yaml"


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    root = tmp_path_factory.mktemp("fleet")
    registry = root / "registry"
    shutil.copytree(folder(MODEL) / VERSION, registry / MODEL / VERSION)
    reference, live = table(rows(4000, 1)), table(drifted(rows(sum(PARTS), 2)))
    reference.to_csv(root / "train.csv", index=False)
    live.to_csv(root / "live.csv", index=False)
    profile = registry / MODEL / VERSION / "profile.json"
    modelgate(
        "profile", "build", "--data", root / "train.csv", "--model", registry / MODEL / VERSION, "--name", MODEL,
        "--score", "score=probabilities[1]", "--out", profile,
    )  # fmt: skip
    offline = json.loads(modelgate("profile", "score", profile, "--data", root / "live.csv", "--json"))
    rules = modelgate("profile", "rules", "--for", "0s")
    # The window is far longer than the test, so all counts are in it; but nobody waits a minute.
    (root / "rules.yaml").write_text(rules.replace("interval: 1m\n", "interval: 1s\n"))

    with ExitStack() as running:
        gateways = []
        for at in range(len(PARTS)):
            gateways.append(Gateway(registry, root / f"log{at}"))
            running.callback(gateways[-1].stop)
        targets = [gateway.metrics for gateway in gateways]
        prometheus = Prometheus(root / "prometheus", targets, [root / "rules.yaml", QUALITY], "200ms")
        running.callback(prometheus.stop)
        serve(prometheus, gateways, live)
        columns = {column["name"]: column for column in offline["columns"]}
        wait_until_scored(prometheus, columns)
        yield Fleet(prometheus, gateways, columns)
