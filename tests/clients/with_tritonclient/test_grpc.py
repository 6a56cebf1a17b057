"""tritonclient.grpc against the gateway: every call it has that the gateway serves."""

import asyncio
import queue

import grpc as grpc_core
import numpy as np
import pytest
import tritonclient.grpc as client
import tritonclient.grpc.aio as aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from errors import BAD_REQUESTS, BadRequest
from gateway import Gateway
from models import CASES, DATATYPES, MODELS, Case, assert_close, assert_same, versions
from shared import assert_metadata, class_strings

ANSWER_SECONDS = 60


@pytest.fixture
def rpc(gateway: Gateway):
    with client.InferenceServerClient(gateway.grpc) as rpc:
        yield rpc


def inputs(tensors: dict[str, np.ndarray]) -> list[client.InferInput]:
    return [
        client.InferInput(name, list(value.shape), DATATYPES[value.dtype]).set_data_from_numpy(value)
        for name, value in tensors.items()
    ]


def outputs(names) -> list[client.InferRequestedOutput]:
    return [client.InferRequestedOutput(name) for name in names]


def arrays(result: client.InferResult) -> dict[str, np.ndarray]:
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


def test_health(rpc):
    assert rpc.is_server_live()
    assert rpc.is_server_ready()


@pytest.mark.parametrize("model", MODELS)
def test_model_ready(rpc, model):
    assert rpc.is_model_ready(model)
    for version in versions(model):
        assert rpc.is_model_ready(model, version)


def test_ready_of_an_unknown_model_is_not_found(rpc):
    with pytest.raises(InferenceServerException, match="no-such-model") as error:
        rpc.is_model_ready("no-such-model")
    assert error.value.status() == "StatusCode.NOT_FOUND"


def test_server_metadata(rpc):
    metadata = rpc.get_server_metadata()
    assert metadata.name and metadata.version
    assert {"binary_tensor_data", "classification", "statistics"} <= set(metadata.extensions)


@pytest.mark.parametrize("model", MODELS)
def test_model_metadata(rpc, model):
    for version in ["", *versions(model)]:
        assert_metadata(rpc.get_model_metadata(model, version, as_json=True), model)


def test_model_config(rpc):
    config = rpc.get_model_config("digits", "1").config
    assert config.name == "digits"
    assert [entry.name for entry in config.input] == ["image"]
    assert [entry.name for entry in config.output] == ["probabilities"]


def test_repository_index(rpc):
    index = rpc.get_model_repository_index().models
    ready = {(entry.name, entry.version) for entry in index if entry.state == "READY"}
    assert ready == {(model, version) for model in MODELS for version in versions(model)}


def test_statistics_count_requests_and_rows(rpc):
    case = next(case for case in CASES if case.name == "breast-cancer-2")
    requests, rows = 5, len(case.inputs["input"])

    def read():
        (stats,) = rpc.get_inference_statistics(case.model, case.version).model_stats
        assert (stats.name, stats.version) == (case.model, case.version)
        return stats

    before = read()
    for _ in range(requests):
        rpc.infer(case.model, inputs(case.inputs), case.version)
    with pytest.raises(InferenceServerException):
        rpc.infer(case.model, inputs({"input": case.inputs["input"][:, :7]}), case.version)
    after = read()

    assert after.inference_count - before.inference_count == requests * rows
    assert 1 <= after.execution_count - before.execution_count <= requests
    assert after.inference_stats.success.count - before.inference_stats.success.count == requests
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_infer(rpc, case: Case):
    expected = case.expected()
    result = rpc.infer(case.model, inputs(case.inputs), case.version, outputs=outputs(expected))
    response = result.get_response()
    assert (response.model_name, response.model_version) == (case.model, case.served_version)
    assert len(response.raw_output_contents) == len(response.outputs)
    assert_same(arrays(result), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_infer_without_listed_outputs_gives_all(rpc, case: Case):
    assert_same(arrays(rpc.infer(case.model, inputs(case.inputs), case.version)), case.expected())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_typed_contents(gateway, case: Case):
    """Values in the fields of their type, as clients without a tensor library send them."""
    fields = {"FP32": "fp32_contents", "INT32": "int_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}
    request = service_pb2.ModelInferRequest(model_name=case.model, model_version=case.version)
    for name, value in case.inputs.items():
        tensor = request.inputs.add(name=name, datatype=DATATYPES[value.dtype], shape=value.shape)
        getattr(tensor.contents, fields[tensor.datatype]).extend(value.ravel().tolist())
    with grpc_core.insecure_channel(gateway.grpc) as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert_same(arrays(client.InferResult(response)), case.expected())


def test_typed_and_raw_contents_together_are_refused(gateway):
    request = service_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[bytes(256)])
    tensor = request.inputs.add(name="image", datatype="FP32", shape=[1, 1, 8, 8])
    tensor.contents.fp32_contents.extend([0.0] * 64)
    with grpc_core.insecure_channel(gateway.grpc) as channel:
        with pytest.raises(grpc_core.RpcError) as error:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert error.value.code() == grpc_core.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(rpc, algorithm):
    case = next(case for case in CASES if case.name == "magika")
    result = rpc.infer(case.model, inputs(case.inputs), compression_algorithm=algorithm)
    assert_same(arrays(result), case.expected())


def test_classification(rpc):
    case = next(case for case in CASES if case.name == "digits")
    wanted = client.InferRequestedOutput("probabilities", class_count=3)
    got = rpc.infer(case.model, inputs(case.inputs), outputs=[wanted]).as_numpy("probabilities")
    assert got.tolist() == class_strings(case.expected()["probabilities"], 3, got)


def test_request_id_comes_back(rpc):
    case = CASES[0]
    assert rpc.infer(case.model, inputs(case.inputs), request_id="Anfrage-7").get_response().id == "Anfrage-7"


def test_parameters_priority_and_timeout_are_taken(rpc):
    case = CASES[0]
    result = rpc.infer(
        case.model,
        inputs(case.inputs),
        case.version,
        priority=1,
        timeout=60_000_000,
        client_timeout=ANSWER_SECONDS,
        parameters={"number": 7, "large": 2**60, "text": "x", "flag": True},
    )
    assert_same(arrays(result), case.expected())


def test_large_batch(rpc):
    """Above 4 MB, where many servers stop by default."""
    case = next(case for case in CASES if case.name == "breast-cancer-2")
    many = {"input": np.tile(case.inputs["input"], (6000, 1))}
    result = rpc.infer(case.model, inputs(many), case.version)
    assert_close(arrays(result), Case("large", case.model, case.version, many).expected())


def test_async_infer(rpc):
    answers: queue.Queue = queue.Queue()
    pending = {f"{case.name}/{turn}": case for turn in range(10) for case in CASES}
    for request_id, case in pending.items():
        rpc.async_infer(
            case.model,
            inputs(case.inputs),
            lambda result, error: answers.put((result, error)),
            case.version,
            request_id=request_id,
        )
    for _ in range(len(pending)):
        result, error = answers.get(timeout=ANSWER_SECONDS)
        assert error is None, error
        case = pending.pop(result.get_response().id)
        assert_close(arrays(result), case.expected())


def test_stream(rpc):
    answers: queue.Queue = queue.Queue()
    rpc.start_stream(lambda result, error: answers.put((result, error)))
    pending = {f"{case.name}/{turn}": case for turn in range(5) for case in CASES}
    for request_id, case in pending.items():
        rpc.async_stream_infer(case.model, inputs(case.inputs), case.version, request_id=request_id)
    for _ in range(len(pending)):
        result, error = answers.get(timeout=ANSWER_SECONDS)
        assert error is None, error
        case = pending.pop(result.get_response().id)
        assert_close(arrays(result), case.expected())
    rpc.stop_stream()


def test_an_error_leaves_the_stream_open(rpc):
    case = CASES[0]
    answers: queue.Queue = queue.Queue()
    rpc.start_stream(lambda result, error: answers.put((result, error)))
    rpc.async_stream_infer("no-such-model", inputs(case.inputs), request_id="bad")
    result, error = answers.get(timeout=ANSWER_SECONDS)
    assert result is None
    assert "no-such-model" in error.message()
    rpc.async_stream_infer(case.model, inputs(case.inputs), case.version, request_id="good")
    result, error = answers.get(timeout=ANSWER_SECONDS)
    assert error is None, error
    assert_same(arrays(result), case.expected())
    rpc.stop_stream()


def test_stream_marks_the_final_response(rpc):
    case = CASES[0]
    answers: queue.Queue = queue.Queue()
    rpc.start_stream(lambda result, error: answers.put((result, error)))
    rpc.async_stream_infer(case.model, inputs(case.inputs), enable_empty_final_response=True)
    result, error = answers.get(timeout=ANSWER_SECONDS)
    assert error is None, error
    assert result.get_response().parameters["triton_final_response"].bool_param
    rpc.stop_stream()


def test_aio(gateway):
    async def run() -> None:
        async with aio.InferenceServerClient(gateway.grpc) as rpc:
            assert await rpc.is_server_live()
            assert await rpc.is_server_ready()
            assert await rpc.is_model_ready("digits")
            assert_metadata(await rpc.get_model_metadata("digits", as_json=True), "digits")
            assert (await rpc.get_model_config("digits")).config.name == "digits"
            assert (await rpc.get_model_repository_index()).models
            assert (await rpc.get_inference_statistics("digits")).model_stats
            results = await asyncio.gather(
                *(rpc.infer(case.model, inputs(case.inputs), case.version) for case in CASES * 5)
            )
            for case, result in zip(CASES * 5, results, strict=True):
                assert_close(arrays(result), case.expected())
            with pytest.raises(InferenceServerException, match="no-such-model"):
                await rpc.infer("no-such-model", inputs(CASES[0].inputs))

    asyncio.run(run())


def test_aio_stream(gateway):
    async def requests():
        for case in CASES:
            yield {
                "model_name": case.model,
                "model_version": case.version,
                "inputs": inputs(case.inputs),
                "request_id": case.name,
            }

    async def run() -> None:
        pending = {case.name: case for case in CASES}
        async with aio.InferenceServerClient(gateway.grpc) as rpc:
            async for result, error in rpc.stream_infer(requests()):
                assert error is None, error
                case = pending.pop(result.get_response().id)
                assert_close(arrays(result), case.expected())
        assert not pending

    asyncio.run(run())


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=str)
def test_bad_requests(rpc, bad: BadRequest):
    with pytest.raises(InferenceServerException) as error:
        rpc.infer(bad.model, inputs(bad.inputs), bad.version, outputs=outputs(bad.outputs) if bad.outputs else None)
    assert error.value.status() == f"StatusCode.{bad.grpc_code}"
    for part in bad.names:
        assert part in error.value.message()
    assert rpc.is_server_live()


def test_grpc_on_the_http_listener(gateway):
    case = CASES[0]
    with client.InferenceServerClient(gateway.http) as rpc:
        assert_same(arrays(rpc.infer(case.model, inputs(case.inputs), case.version)), case.expected())
