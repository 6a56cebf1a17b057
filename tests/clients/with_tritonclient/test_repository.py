"""Loading and unloading by request: models in explicit mode, a gateway of their own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

from gateway import Gateway
from models import CASES, assert_same, folder
from test_grpc import arrays as grpc_arrays
from test_grpc import inputs as grpc_inputs
from test_http import arrays as http_arrays
from test_http import inputs as http_inputs

DIGIT = next(case for case in CASES if case.name == "digits-one-row")
CANCER = next(case for case in CASES if case.name == "breast-cancer-newest")


@pytest.fixture
def explicit(tmp_path: Path) -> Iterator[Gateway]:
    """`digits` is loaded by request, `breast-cancer` by its registry."""
    registry = tmp_path / "registry"
    for model in ("digits", "breast-cancer"):
        shutil.copytree(folder(model), registry / model)
    with open(registry / "digits" / "model.yaml", "a") as options:
        options.write("\nmode: explicit\n")
    gateway = Gateway(registry, tmp_path / "log")
    yield gateway
    gateway.stop()


def http_states(client: http.InferenceServerClient, model: str) -> set[str]:
    return {entry["state"] for entry in client.get_model_repository_index() if entry["name"] == model}


def grpc_states(client: grpc.InferenceServerClient, model: str) -> set[str]:
    return {entry.state for entry in client.get_model_repository_index().models if entry.name == model}


def test_http_loads_and_unloads(explicit: Gateway):
    with http.InferenceServerClient(explicit.http) as client:
        assert "model_repository" in client.get_server_metadata()["extensions"]
        assert client.is_server_ready()
        assert not client.is_model_ready("digits")
        for _ in range(2):
            client.load_model("digits")
            assert client.is_model_ready("digits")
            assert http_states(client, "digits") == {"READY"}
            result = client.infer("digits", http_inputs(DIGIT.inputs))
            assert_same(http_arrays(result), DIGIT.expected())
            client.load_model("digits")
            client.unload_model("digits", unload_dependents=True)
            assert not client.is_model_ready("digits")
            assert "READY" not in http_states(client, "digits")
        with pytest.raises(InferenceServerException):
            client.infer("digits", http_inputs(DIGIT.inputs))
        result = client.infer("breast-cancer", http_inputs(CANCER.inputs))
        assert_same(http_arrays(result), CANCER.expected())


def test_grpc_loads_and_unloads(explicit: Gateway):
    with grpc.InferenceServerClient(explicit.grpc) as client:
        assert "model_repository" in client.get_server_metadata().extensions
        for _ in range(2):
            client.load_model("digits")
            assert client.is_model_ready("digits")
            assert grpc_states(client, "digits") == {"READY"}
            result = client.infer("digits", grpc_inputs(DIGIT.inputs))
            assert_same(grpc_arrays(result), DIGIT.expected())
            client.unload_model("digits")
            assert "READY" not in grpc_states(client, "digits")
        with pytest.raises(InferenceServerException):
            client.infer("digits", grpc_inputs(DIGIT.inputs))
        result = client.infer("breast-cancer", grpc_inputs(CANCER.inputs))
        assert_same(grpc_arrays(result), CANCER.expected())


def test_what_is_loaded_by_its_registry_is_not_loaded_by_request(explicit: Gateway):
    with http.InferenceServerClient(explicit.http) as client:
        with pytest.raises(InferenceServerException) as error:
            client.unload_model("breast-cancer")
        assert error.value.status() == "409"
        with pytest.raises(InferenceServerException) as error:
            client.load_model("no-such-model")
        assert error.value.status() == "404"
        assert client.is_model_ready("breast-cancer")
    with grpc.InferenceServerClient(explicit.grpc) as client:
        with pytest.raises(InferenceServerException) as error:
            client.unload_model("breast-cancer")
        assert error.value.status() == "StatusCode.FAILED_PRECONDITION"
        with pytest.raises(InferenceServerException) as error:
            client.load_model("no-such-model")
        assert error.value.status() == "StatusCode.NOT_FOUND"


def test_a_model_in_the_request_is_refused(explicit: Gateway):
    files = {"file:1/model.onnx": b"not from the registry"}
    with http.InferenceServerClient(explicit.http) as client:
        for extra in ({"config": '{"backend": "onnxruntime"}'}, {"config": "{}", "files": files}):
            with pytest.raises(InferenceServerException, match="registry") as error:
                client.load_model("digits", **extra)
            assert error.value.status() == "400"
        assert not client.is_model_ready("digits")
    with grpc.InferenceServerClient(explicit.grpc) as client:
        for extra in ({"config": '{"backend": "onnxruntime"}'}, {"config": "{}", "files": files}):
            with pytest.raises(InferenceServerException, match="registry") as error:
                client.load_model("digits", **extra)
            assert error.value.status() == "StatusCode.INVALID_ARGUMENT"
