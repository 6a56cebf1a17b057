"""What holds on both faces."""

import numpy as np
import yaml

from models import ONNX_DATATYPES, folder, session, versions


def assert_metadata(metadata: dict, model: str) -> None:
    """Against what ONNX Runtime itself reads in the graph; numbers may be text, as protobuf's JSON has them."""
    assert metadata["name"] == model
    assert metadata["versions"] == versions(model)
    assert metadata["platform"] in ("onnxruntime_onnx", "onnx_onnxv1")
    graph = session(model, versions(model)[-1])
    for got, want in ((metadata["inputs"], graph.get_inputs()), (metadata["outputs"], graph.get_outputs())):
        assert [tensor["name"] for tensor in got] == [tensor.name for tensor in want]
        assert [tensor["datatype"] for tensor in got] == [ONNX_DATATYPES[tensor.type] for tensor in want]
        for have, tensor in zip(got, want, strict=True):
            shape = [int(size) for size in have.get("shape", [])]
            if tensor.type.startswith("tensor"):
                assert shape == [size if isinstance(size, int) else -1 for size in tensor.shape]
            else:
                # Maps: a row each, a column per class. The graph does not tell how many.
                assert len(shape) == 2 and shape[0] == -1


def class_strings(scores: np.ndarray, count: int, got: np.ndarray) -> list[list]:
    """What the classification extension answers: "value:index:label", best first."""
    labels = yaml.safe_load((folder("digits") / "model.yaml").read_text())["labels"]["probabilities"]
    as_bytes = isinstance(got.ravel()[0], bytes)
    rows = []
    for row in scores:
        best = np.argsort(-row, kind="stable")[:count]
        texts = [f"{row[index]:.6f}:{index}:{labels[index]}" for index in best]
        rows.append([text.encode() for text in texts] if as_bytes else texts)
    return rows
