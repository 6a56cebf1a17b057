"""What is asked of each model, and what ONNX Runtime in this process answers."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from gateway import REPOSITORY

SAMPLE_MODELS = REPOSITORY / "models"
PUBLISHED_MODELS = REPOSITORY / ".cache/test-models"

DATATYPES = {
    np.dtype(np.float32): "FP32",
    np.dtype(np.float64): "FP64",
    np.dtype(np.int32): "INT32",
    np.dtype(np.int64): "INT64",
    np.dtype(object): "BYTES",
}
ONNX_DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(string)": "BYTES",
    # What ZipMap gives; the gateway serves it as columns.
    "seq(map(int64,tensor(float)))": "FP32",
}


@dataclass(frozen=True)
class Case:
    """One request: a model, a version ("" lets the server choose), its inputs by name."""

    name: str
    model: str
    version: str
    inputs: dict[str, np.ndarray]

    @property
    def served_version(self) -> str:
        return self.version or max(versions(self.model), key=int)

    def expected(self) -> dict[str, np.ndarray]:
        return reference(self.model, self.served_version, self.inputs)

    def __str__(self) -> str:
        return self.name


def folder(model: str) -> Path:
    sample = SAMPLE_MODELS / model
    return sample if sample.is_dir() else PUBLISHED_MODELS / model


def versions(model: str) -> list[str]:
    return sorted((entry.name for entry in folder(model).iterdir() if entry.name.isdigit()), key=int)


@functools.cache
def session(model: str, version: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Several threads may add in another order, and the comparison is bit for bit.
    options.intra_op_num_threads = 1
    path = folder(model) / version / "model.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def reference(model: str, version: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    running = session(model, version)
    names = [output.name for output in running.get_outputs()]
    values = running.run(names, {name: text(value) for name, value in inputs.items()})
    return {name: columns(value) for name, value in zip(names, values, strict=True)}


def text(value: np.ndarray) -> np.ndarray:
    """ONNX Runtime in Python takes text, the clients take bytes."""
    if value.dtype != object:
        return value
    return np.array([element.decode() for element in value.ravel()], dtype=object).reshape(value.shape)


def columns(value) -> np.ndarray:
    """A sequence of maps (ZipMap) as one row per map, one column per class in ascending order."""
    if isinstance(value, list):
        return np.array([[row[key] for key in sorted(row)] for row in value], dtype=np.float32)
    return value


def golden_inputs(model: str, version: str) -> dict[str, np.ndarray]:
    golden = json.loads((folder(model) / version / "golden.json").read_text())
    return {tensor["name"]: from_json(tensor) for tensor in golden["inputs"]}


def from_json(tensor: dict) -> np.ndarray:
    if tensor["datatype"] == "BYTES":
        data = np.array([element.encode() for element in tensor["data"]], dtype=object)
    else:
        (dtype,) = (dtype for dtype, name in DATATYPES.items() if name == tensor["datatype"])
        data = np.array(tensor["data"], dtype=dtype)
    return data.reshape(tensor["shape"])


def first_row(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value[:1] for name, value in inputs.items()}


def file_bytes(*contents: bytes) -> np.ndarray:
    """What magika looks at: 1,024 bytes from either end of a file, 256 where there are none."""
    rows = np.full((len(contents), 2048), 256, dtype=np.int32)
    for row, content in zip(rows, contents, strict=True):
        start, end = content[:1024], content[-1024:]
        row[: len(start)] = list(start)
        row[2048 - len(end) :] = list(end)
    return rows


def voice(rows: int, samples: int) -> np.ndarray:
    time = np.arange(samples) / 16000
    noise = np.random.default_rng(1).normal(scale=0.05, size=(rows, samples))
    return (0.4 * np.sin(2 * np.pi * 220 * time) + noise).astype(np.float32)


def silero(rows: int, samples: int) -> dict[str, np.ndarray]:
    return {
        "input": voice(rows, samples),
        "state": np.zeros((2, rows, 128), dtype=np.float32),
        "sr": np.array(16000, dtype=np.int64),
    }


def cases() -> list[Case]:
    cancer, digits, sentiment = (
        golden_inputs(model, "1") for model in ("breast-cancer", "digits", "sentiment")
    )
    source = Path(__file__).read_bytes()
    files = file_bytes(source, (SAMPLE_MODELS / "digits/1/model.onnx").read_bytes(), b'{"a": [1, 2]}\n')
    return [
        Case("breast-cancer-1", "breast-cancer", "1", cancer),
        Case("breast-cancer-2", "breast-cancer", "2", cancer),
        Case("breast-cancer-newest", "breast-cancer", "", cancer),
        Case("breast-cancer-one-row", "breast-cancer", "", first_row(cancer)),
        Case("breast-cancer-zipmap", "breast-cancer-zipmap", "", cancer),
        Case("breast-cancer-zipmap-one-row", "breast-cancer-zipmap", "1", first_row(cancer)),
        Case("digits", "digits", "", digits),
        Case("digits-one-row", "digits", "1", first_row(digits)),
        Case("sentiment", "sentiment", "", sentiment),
        Case("sentiment-one-row", "sentiment", "1", first_row(sentiment)),
        Case("magika", "magika", "", {"bytes": files}),
        Case("silero-vad", "silero-vad", "", silero(1, 512)),
        Case("silero-vad-two-voices", "silero-vad-16k", "1", silero(2, 576)),
    ]


CASES = cases()
MODELS = sorted({case.model for case in CASES})


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Names, types, shapes and every bit. JSON passes too: its decimals give the same floats back."""
    assert list(got) == list(expected)
    for name, want in expected.items():
        have = got[name]
        assert have is not None, name
        assert have.shape == want.shape, name
        if want.dtype == object:
            assert [raw(element) for element in have.ravel()] == [raw(element) for element in want.ravel()], name
        else:
            assert have.dtype == want.dtype, name
            # Compared as numbers first, for a message that shows them.
            np.testing.assert_array_equal(have, want, err_msg=name)
            assert have.tobytes() == want.tobytes(), name


def assert_close(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """For requests the server may run in one batch: its kernels may round differently."""
    assert list(got) == list(expected)
    for name, want in expected.items():
        if want.dtype == np.float32:
            assert got[name].shape == want.shape, name
            np.testing.assert_allclose(got[name], want, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            assert_same({name: got[name]}, {name: want})


def raw(element: bytes | str) -> bytes:
    return element.encode() if isinstance(element, str) else element
