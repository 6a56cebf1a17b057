"""What no client library sends: plain requests by hand, health and reflection of gRPC, the stop."""

import http.client
import json
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gateway import Gateway
from models import CASES, assert_close, assert_same

DIGIT = next(case for case in CASES if case.name == "digits-one-row")
SERVICE = "inference.GRPCInferenceService"


def post(address: str, path: str, body: bytes, headers: dict) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def decode(response: http.client.HTTPResponse, body: bytes) -> dict[str, np.ndarray]:
    header = response.getheader("Inference-Header-Content-Length")
    result = tritonclient.http.InferenceServerClient.parse_response_body(
        body, header_length=None if header is None else int(header)
    )
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def test_plain_json_with_nested_data(gateway):
    value = DIGIT.inputs["image"]
    request = {
        "id": "by-hand",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": list(value.shape), "data": value.tolist()}],
    }
    response, body = post(
        gateway.http, "/v2/models/digits/infer", json.dumps(request).encode(), {"Content-Type": "application/json"}
    )
    assert response.status == 200, body
    assert response.getheader("Content-Type") == "application/json"
    assert response.getheader("x-request-id") == "by-hand"
    assert response.getheader("x-model-version") == "1"
    assert json.loads(body)["id"] == "by-hand"
    assert_same(decode(response, body), DIGIT.expected())


def test_raw_binary_request(gateway):
    """Header length 0: the body is the one input's bytes and nothing else."""
    response, body = post(
        gateway.http,
        "/v2/models/digits/infer",
        DIGIT.inputs["image"].tobytes(),
        {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"},
    )
    assert response.status == 200, body
    assert response.getheader("Content-Type") == "application/octet-stream"
    assert_same(decode(response, body), DIGIT.expected())


def test_every_refusal_is_a_json_error(gateway):
    for path, body in (
        ("/v2/models/no-such-model/infer", b"{}"),
        ("/v2/models/digits/infer", b"{"),
        ("/v2/no/such/path", b""),
    ):
        response, answer = post(gateway.http, path, body, {})
        assert response.status in (400, 404), path
        assert isinstance(json.loads(answer)["error"], str), path


def test_grpc_health(gateway):
    with grpc.insecure_channel(gateway.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        with pytest.raises(grpc.RpcError) as error:
            health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_is_off_by_default(gateway):
    with grpc.insecure_channel(gateway.grpc) as channel:
        with pytest.raises(grpc.RpcError) as error:
            list(ProtoReflectionDescriptorDatabase(channel).get_services())
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_reflection_where_enabled(registry: Path, tmp_path: Path):
    config = tmp_path / "modelgate.yaml"
    config.write_text("server:\n  reflection: true\n")
    gateway = Gateway(registry, tmp_path / "log", config)
    try:
        with grpc.insecure_channel(gateway.grpc) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert SERVICE in database.get_services()
            assert database.FindFileContainingSymbol(SERVICE).package == "inference"
    finally:
        gateway.stop()


def test_a_request_in_flight_outlives_the_stop(registry: Path, tmp_path: Path):
    case = next(case for case in CASES if case.name == "breast-cancer-2")
    rows = np.tile(case.inputs["input"], (4000, 1))
    tensor = tritonclient.http.InferInput("input", list(rows.shape), "FP32").set_data_from_numpy(rows)
    body, header_length = tritonclient.http.InferenceServerClient.generate_request_body([tensor])

    gateway = Gateway(registry, tmp_path / "log")
    connection = http.client.HTTPConnection(gateway.http, timeout=60)
    connection.request(
        "POST", "/v2/models/breast-cancer/infer", body, {"Inference-Header-Content-Length": str(header_length)}
    )
    gateway.ask_to_stop()
    response = connection.getresponse()
    answer = response.read()
    connection.close()

    assert response.status == 200, answer
    tiled = {name: np.tile(value, (4000,) + (1,) * (value.ndim - 1)) for name, value in case.expected().items()}
    assert_close(decode(response, answer), tiled)
    assert gateway.wait_for_exit() == 0, gateway.tail()
    assert not gateway.is_ready()
