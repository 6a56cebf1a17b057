#!/usr/bin/env python3
"""Trains and exports the sample models that lie beside this file.

    python3 -m venv .venv && .venv/bin/pip install -r models/requirements.txt
    .venv/bin/python models/train.py            # writes the models
    .venv/bin/python models/train.py --check    # trains again, compares, writes nothing
    .venv/bin/python models/train.py --profiles # writes the profiles only, of the models that lie there

Each version gets `model.onnx`, `golden.json`: inputs the model never saw in training and the outputs
ONNX Runtime gives for them; and, but for images, `profile.json`: what its inputs looked like in
training, built by `modelgate profile build` (MODELGATE_BIN, else target/debug/modelgate). Every seed is fixed and one thread does the arithmetic, so a
second run gives the same predictions.
"""

import os

# Before numpy is imported: a sum split over threads may round differently each time.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import csv
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline

HERE = Path(__file__).resolve().parent
SEED = 20240229
TARGET_OPSET = {"": 18, "ai.onnx.ml": 3, "com.microsoft": 1}
TOLERANCE = {"absolute": 1e-5, "relative": 1e-5}
MODELGATE = os.environ.get("MODELGATE_BIN", str(HERE.parent / "target/debug/modelgate"))
# Far fewer than a model of one's own should have: the sets are small.
MIN_REFERENCE_ROWS = 300

# The rated review snippets lie in this source archive (MIT), which pip fetches.
CORPUS_PACKAGE = "vaderSentiment==3.3.2"
CORPUS_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
CORPUS_INNER_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
CORPUS_FILES = (
    "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
    "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    "hutto_ICWSM_2014/tweets_GroundTruth.txt",
)

DATATYPES = {
    np.dtype(np.float32): "FP32",
    np.dtype(np.int64): "INT64",
    np.dtype(object): "BYTES",
}


@dataclass
class Reference:
    """What a profile is built of: rows of training, and what a model that did not see them answers."""

    columns: list[str]
    rows: list[list]
    truth: list
    predicted: list
    # Of the second class.
    scores: list[float]
    # More flags of `modelgate profile build`.
    flags: list[str]


@dataclass
class Version:
    """One trained version of a model, ready to be written."""

    name: str
    version: int
    model: onnx.ModelProto
    golden_inputs: dict[str, np.ndarray]
    # Rows the training never saw, and their true labels: what the accuracy is measured on.
    held_out: tuple[dict[str, np.ndarray], np.ndarray]
    # None of what is no table.
    reference: Reference | None = None

    def serialized(self) -> bytes:
        return self.model.SerializeToString(deterministic=True)

    def accuracy(self) -> float:
        """The exported model's, not the estimator's: a bad export must show."""
        inputs, truth = self.held_out
        first = next(iter(predict(self.serialized(), inputs).values()))
        return float(np.mean((first.argmax(axis=1) if first.ndim == 2 else first) == truth))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed models, write nothing")
    parser.add_argument("--profiles", action="store_true", help="write the profiles of the committed models only")
    arguments = parser.parse_args()

    trained = [*breast_cancer(), digits(), sentiment()]
    if arguments.check:
        return check(trained)
    for version in trained:
        if not arguments.profiles:
            write(version)
        if version.reference is not None:
            profile(version)
    return 0


# ---------------------------------------------------------------- breast cancer


def breast_cancer() -> list[Version]:
    """Gradient-boosted trees: a shallow first version, a deeper second, and the second as maps."""
    data = load_breast_cancer()
    train_x, test_x, train_y, test_y = train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.3, random_state=SEED, stratify=data.target
    )
    # Four of each class, so that the golden outputs show both.
    golden = np.concatenate([test_x[test_y == 0][:4], test_x[test_y == 1][:4]])

    first = GradientBoostingClassifier(n_estimators=25, max_depth=1, learning_rate=0.15, random_state=SEED)
    second = GradientBoostingClassifier(
        n_estimators=120, max_depth=3, learning_rate=0.1, subsample=0.7, random_state=SEED
    )

    names = [name.replace(" ", "_") for name in data.feature_names]
    versions = []
    for name, number, classifier, zipmap in (
        ("breast-cancer", 1, first, False),
        ("breast-cancer", 2, second, False),
        ("breast-cancer-zipmap", 1, second, True),
    ):
        classifier.fit(train_x, train_y)
        versions.append(
            Version(
                name=name,
                version=number,
                model=export(
                    classifier,
                    [("input", FloatTensorType([None, train_x.shape[1]]))],
                    # skl2onnx's own default is ZipMap: one map from class to probability per row.
                    {} if zipmap else {id(classifier): {"zipmap": False}},
                ),
                golden_inputs={"input": golden},
                held_out=({"input": test_x}, test_y),
                reference=reference(classifier, names, train_x, train_y, []),
            )
        )
    return versions


# ---------------------------------------------------------------- digits


def digits() -> Version:
    """A small convolutional network on 8x8 grey images, trained here with numpy alone."""
    data = load_digits()
    images = data.images.astype(np.float32)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, data.target, test_size=0.25, random_state=SEED, stratify=data.target
    )
    network = DigitNetwork(np.random.default_rng(SEED))
    network.train(train_x / 16, train_y, epochs=30, batch=32)
    golden = np.stack([test_x[test_y == digit][0] for digit in range(10)])
    return Version("digits", 1, network.to_onnx(), {"image": golden}, ({"image": test_x}, test_y))


class DigitNetwork:
    """conv 3x3x8, relu, max pool 2x2, conv 3x3x16, relu, dense 10, softmax."""

    def __init__(self, rng: np.random.Generator):
        def weights(*shape: int) -> np.ndarray:
            fan_in = np.prod(shape[1:])
            return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)

        self.rng = rng
        self.parameters = {
            "conv1.weight": weights(8, 1, 3, 3),
            "conv1.bias": np.zeros(8, np.float32),
            "conv2.weight": weights(16, 8, 3, 3),
            "conv2.bias": np.zeros(16, np.float32),
            "dense.weight": weights(10, 256),
            "dense.bias": np.zeros(10, np.float32),
        }

    def train(self, x: np.ndarray, y: np.ndarray, epochs: int, batch: int) -> None:
        """Adam on the cross-entropy, the images moved by up to one pixel as augmentation."""
        first = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        second = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        step = 0
        for epoch in range(epochs):
            rate = 2e-3 * (1 - epoch / epochs)
            order = self.rng.permutation(len(x))
            for start in range(0, len(x), batch):
                rows = order[start : start + batch]
                shift = tuple(self.rng.integers(-1, 2, size=2)) if epoch % 2 else (0, 0)
                gradients = self.gradients(np.roll(x[rows], shift, axis=(2, 3)), y[rows])
                step += 1
                for name, gradient in gradients.items():
                    first[name] += 0.1 * (gradient - first[name])
                    second[name] += 0.001 * (gradient**2 - second[name])
                    unbiased = first[name] / (1 - 0.9**step)
                    scale = np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
                    self.parameters[name] -= (rate * unbiased / scale).astype(np.float32)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        p = self.parameters
        hidden1 = np.maximum(convolve(x, p["conv1.weight"], p["conv1.bias"]), 0)
        windows = hidden1.reshape(len(x), 8, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(len(x), 8, 4, 4, 4)
        pooled = windows.max(axis=-1)
        hidden2 = np.maximum(convolve(pooled, p["conv2.weight"], p["conv2.bias"]), 0)
        logits = hidden2.reshape(len(x), -1) @ p["dense.weight"].T + p["dense.bias"]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return hidden1, windows, pooled, hidden2, powers / powers.sum(axis=1, keepdims=True)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        p = self.parameters
        hidden1, windows, pooled, hidden2, probabilities = self.forward(x)
        d_logits = probabilities.copy()
        d_logits[np.arange(len(y)), y] -= 1
        d_logits /= len(y)
        d_hidden2 = (d_logits @ p["dense.weight"]).reshape(hidden2.shape) * (hidden2 > 0)
        d_pooled = convolve(d_hidden2, p["conv2.weight"].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
        # Max pooling hands the gradient to the first largest pixel of each window.
        d_windows = np.zeros_like(windows)
        np.put_along_axis(d_windows, windows.argmax(axis=-1)[..., None], d_pooled[..., None], axis=-1)
        d_hidden1 = d_windows.reshape(len(x), 8, 4, 4, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(hidden1.shape)
        d_hidden1 *= hidden1 > 0
        return {
            "conv1.weight": np.einsum("nohw,nchwij->ocij", d_hidden1, patches(x), optimize=True),
            "conv1.bias": d_hidden1.sum(axis=(0, 2, 3)),
            "conv2.weight": np.einsum("nohw,nchwij->ocij", d_hidden2, patches(pooled), optimize=True),
            "conv2.bias": d_hidden2.sum(axis=(0, 2, 3)),
            "dense.weight": d_logits.T @ hidden2.reshape(len(x), -1),
            "dense.bias": d_logits.sum(axis=0),
        }

    def to_onnx(self) -> onnx.ModelProto:
        tensors = {"scale": np.float32(1 / 16), **self.parameters}
        same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        nodes = [
            helper.make_node("Mul", ["image", "scale"], ["scaled"]),
            helper.make_node("Conv", ["scaled", "conv1.weight", "conv1.bias"], ["conv1"], **same),
            helper.make_node("Relu", ["conv1"], ["hidden1"]),
            helper.make_node("MaxPool", ["hidden1"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Conv", ["pooled", "conv2.weight", "conv2.bias"], ["conv2"], **same),
            helper.make_node("Relu", ["conv2"], ["hidden2"]),
            helper.make_node("Flatten", ["hidden2"], ["features"]),
            helper.make_node("Gemm", ["features", "dense.weight", "dense.bias"], ["logits"], transB=1),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ]
        graph = helper.make_graph(
            nodes,
            "digits",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
        )
        opsets = [helper.make_opsetid("", TARGET_OPSET[""])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="modelgate-samples")


def patches(x: np.ndarray) -> np.ndarray:
    """The 3x3 neighbourhood of every pixel, zeros outside: [n, channels, height, width, 3, 3]."""
    return sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    out = np.einsum("nchwij,ocij->nohw", patches(x), weight, optimize=True)
    return out if bias is None else out + bias[:, None, None]


# ---------------------------------------------------------------- sentiment


def sentiment() -> Version:
    """TF-IDF over words and word pairs with a logistic regression: text in, label out."""
    texts, labels = corpus()
    train_x, test_x, train_y, test_y = train_test_split(
        texts, labels, test_size=0.2, random_state=SEED, stratify=labels
    )
    pipeline = make_pipeline(
        # The exported tokenizer splits by this very expression; ONNX Runtime reads it as RE2.
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, max_features=8000, token_pattern="[a-zA-Z']+"),
        LogisticRegression(C=4.0, max_iter=1000, random_state=SEED),
    )
    pipeline.fit(train_x, train_y)
    model = export(
        pipeline,
        [("text", StringTensorType([None, 1]))],
        {id(pipeline[-1]): {"zipmap": False}},
    )
    golden = [
        "The battery lasts for days and the picture is wonderful.",
        "It broke after a week and nobody answered my mails. A waste of money.",
        "I love how light it is",
        "boring, slow and far too long",
        "not bad at all!",
        "Añadido: très bien, 素晴らしい",
        "",
    ]
    return Version(
        name="sentiment",
        version=1,
        model=model,
        golden_inputs={"text": column(golden)},
        held_out=({"text": column(test_x)}, np.array(test_y, dtype=object)),
        reference=reference(pipeline, ["text"], train_x, train_y, ["--kind", "text=text"]),
    )


def column(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=object).reshape(-1, 1)


def corpus() -> tuple[list[str], list[str]]:
    """Snippets of reviews and short messages with the mean of ten people's ratings, -4 to 4."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--no-binary", ":all:", "--dest", folder, CORPUS_PACKAGE],
            check=True,
        )  # fmt: skip
        (archive,) = Path(folder).iterdir()
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != CORPUS_SHA256:
            raise SystemExit(f"{archive.name} has sha256 {digest}, expected {CORPUS_SHA256}")
        texts, labels = [], []
        with tarfile.open(archive) as outer, tarfile.open(fileobj=outer.extractfile(CORPUS_INNER_ARCHIVE)) as inner:
            for name in CORPUS_FILES:
                for line in inner.extractfile(name).read().decode("utf-8", "replace").splitlines():
                    _, rating, text = line.split("\t", 2)
                    # A rating near zero is people who disagree or facts: neither class.
                    if abs(float(rating)) >= 0.5:
                        texts.append(text)
                        labels.append("positive" if float(rating) > 0 else "negative")
        return texts, labels


# ---------------------------------------------------------------- export, golden, check


def export(estimator, inputs: list, options: dict) -> onnx.ModelProto:
    model = to_onnx(estimator, initial_types=inputs, options=options, target_opset=TARGET_OPSET)
    # skl2onnx names the graph by a random id and lists the operator sets in hash order; without
    # that, two runs give the same bytes.
    model.graph.name = type(estimator).__name__
    operator_sets = sorted(model.opset_import, key=lambda entry: entry.domain)
    del model.opset_import[:]
    model.opset_import.extend(operator_sets)
    for node in model.graph.node:
        if node.op_type == "StringNormalizer":
            # Its default, en_US.UTF-8, is missing on most servers, and then the model does not load.
            del node.attribute[:]
            node.attribute.extend([
                helper.make_attribute("case_change_action", "LOWER"),
                helper.make_attribute("is_case_sensitive", 0),
                helper.make_attribute("locale", "C"),
            ])
    onnx.checker.check_model(model)
    return model


def write(version: Version) -> None:
    folder = HERE / version.name / str(version.version)
    folder.mkdir(parents=True, exist_ok=True)
    content = version.serialized()
    (folder / "model.onnx").write_bytes(content)
    outputs = predict(content, version.golden_inputs)
    golden = {
        "inputs": [tensor(name, value) for name, value in version.golden_inputs.items()],
        "outputs": [tensor(name, value) for name, value in outputs.items()],
        "tolerance": TOLERANCE,
    }
    (folder / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    print(f"{version.name}/{version.version}: accuracy {version.accuracy():.3f} on held-out rows, {len(content)} bytes")


def reference(estimator, columns: list[str], x, y, flags: list[str]) -> Reference:
    """Scores are by cross-validation: of its own rows a model is too sure."""
    scores = cross_val_predict(estimator, x, y, cv=5, method="predict_proba")[:, 1]
    classes = sorted(set(y))
    rows = [[row] if isinstance(row, str) else [str(value) for value in row] for row in x]
    predicted = [classes[int(score > 0.5)] for score in scores]
    # As the tensors hold them, so that they are the same wherever this runs.
    scores = [str(np.float32(round(score, 6))) for score in scores]
    flags = [*flags, "--positive", str(classes[1])]
    return Reference(columns, rows, list(y), predicted, scores, flags)


def profile(version: Version) -> None:
    folder = HERE / version.name / str(version.version)
    of = version.reference
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    label, scores = (output.name for output in session.get_outputs())
    with tempfile.TemporaryDirectory() as data_folder:
        data = Path(data_folder) / f"{version.name}.csv"
        with data.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*of.columns, "truth", "predicted", "score"])
            for row in zip(of.rows, of.truth, of.predicted, of.scores, strict=True):
                table.writerow([*row[0], *row[1:]])
        subprocess.run(
            [MODELGATE, "profile", "build", "--data", data, "--model", folder, "--out", folder / "profile.json",
             "--label", "truth", "--prediction", f"predicted={label}", "--score", f"score={scores}[1]",
             "--min-reference-rows", str(MIN_REFERENCE_ROWS), *of.flags],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    print(f"{version.name}/{version.version}: profile of {len(of.rows)} rows")


def check(trained: list[Version]) -> int:
    """Compares fresh models with the committed ones, on the golden inputs."""
    failed = 0
    for version in trained:
        committed = (HERE / version.name / str(version.version) / "model.onnx").read_bytes()
        fresh = version.serialized()
        expected = predict(committed, version.golden_inputs)
        got = predict(fresh, version.golden_inputs)
        same = expected.keys() == got.keys() and all(close(expected[name], got[name]) for name in expected)
        failed += not same
        verdict = "same bytes" if committed == fresh else "same predictions" if same else "PREDICTIONS DIFFER"
        print(f"{version.name}/{version.version}: {verdict}")
    return 1 if failed else 0


def close(expected: np.ndarray, got: np.ndarray) -> bool:
    if expected.dtype != np.float32:
        return np.array_equal(expected, got)
    return np.allclose(got, expected, atol=TOLERANCE["absolute"], rtol=TOLERANCE["relative"])


def predict(model: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name: flat(value) for name, value in zip(names, session.run(names, inputs), strict=True)}


def flat(value) -> np.ndarray:
    """A sequence of maps (ZipMap) as rows, one column per class in the map's order."""
    if isinstance(value, list):
        return np.array([list(row.values()) for row in value], dtype=np.float32)
    return value


def tensor(name: str, value: np.ndarray) -> dict:
    """The tensor as the Open Inference Protocol writes it in JSON."""
    if value.dtype == np.float32:
        # The shortest decimal that gives this very float back.
        data = [float(str(element)) for element in value.ravel()]
        assert np.array_equal(np.array(data, np.float32), value.ravel())
    else:
        data = value.ravel().tolist()
    return {"name": name, "datatype": DATATYPES[value.dtype], "shape": list(value.shape), "data": data}


if __name__ == "__main__":
    sys.exit(main())
