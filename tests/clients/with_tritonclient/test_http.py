"""tritonclient.http against the gateway: every call it has that the gateway serves."""

import asyncio

import numpy as np
import pytest
import tritonclient.http as client
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

from errors import BAD_REQUESTS, BadRequest
from gateway import Gateway
from models import CASES, DATATYPES, MODELS, Case, assert_close, assert_same, versions
from shared import assert_metadata, class_strings


@pytest.fixture
def http(gateway: Gateway):
    with client.InferenceServerClient(gateway.http, concurrency=8) as http:
        yield http


def inputs(tensors: dict[str, np.ndarray], binary: bool = True) -> list[client.InferInput]:
    return [
        client.InferInput(name, list(value.shape), DATATYPES[value.dtype]).set_data_from_numpy(value, binary)
        for name, value in tensors.items()
    ]


def outputs(names, binary: bool = True) -> list[client.InferRequestedOutput]:
    return [client.InferRequestedOutput(name, binary_data=binary) for name in names]


def arrays(result: client.InferResult) -> dict[str, np.ndarray]:
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def test_health(http):
    assert http.is_server_live()
    assert http.is_server_ready()


@pytest.mark.parametrize("model", MODELS)
def test_model_ready(http, model):
    assert http.is_model_ready(model)
    for version in versions(model):
        assert http.is_model_ready(model, version)


def test_unknown_models_are_not_ready(http):
    assert not http.is_model_ready("no-such-model")
    assert not http.is_model_ready("digits", "99")


def test_server_metadata(http):
    metadata = http.get_server_metadata()
    assert metadata["name"] and metadata["version"]
    served = {"binary_tensor_data", "classification", "model_configuration", "parameters", "statistics"}
    assert served <= set(metadata["extensions"])
    assert not {"system_shared_memory", "cuda_shared_memory"} & set(metadata["extensions"])


@pytest.mark.parametrize("model", MODELS)
def test_model_metadata(http, model):
    for version in ["", *versions(model)]:
        assert_metadata(http.get_model_metadata(model, version), model)


def test_model_config(http):
    config = http.get_model_config("digits", "1")
    assert config["name"] == "digits"
    assert [(entry["name"], entry["data_type"]) for entry in config["input"]] == [("image", "TYPE_FP32")]
    assert [entry["name"] for entry in config["output"]] == ["probabilities"]


def test_repository_index(http):
    index = http.get_model_repository_index()
    ready = {(entry["name"], entry["version"]) for entry in index if entry["state"] == "READY"}
    assert ready == {(model, version) for model in MODELS for version in versions(model)}


def test_statistics_count_requests_and_rows(http):
    case = next(case for case in CASES if case.name == "breast-cancer-1")
    requests, rows = 5, len(case.inputs["input"])

    def read() -> dict:
        (stats,) = http.get_inference_statistics(case.model, case.version)["model_stats"]
        assert (stats["name"], stats["version"]) == (case.model, case.version)
        return stats

    before = read()
    for _ in range(requests):
        http.infer(case.model, inputs(case.inputs), case.version)
    after = read()

    assert after["inference_count"] - before["inference_count"] == requests * rows
    assert 1 <= after["execution_count"] - before["execution_count"] <= requests
    success = after["inference_stats"]["success"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == requests
    assert success["ns"] > before["inference_stats"]["success"]["ns"]
    assert after["last_inference"] >= before["last_inference"] > 1_600_000_000_000 or before["last_inference"] == 0


def test_statistics_of_every_model(http):
    stats = http.get_inference_statistics()["model_stats"]
    assert {entry["name"] for entry in stats} == set(MODELS)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary-in", "json-in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary-out", "json-out"])
def test_infer(http, case: Case, binary_in, binary_out):
    expected = case.expected()
    result = http.infer(
        case.model, inputs(case.inputs, binary_in), case.version, outputs=outputs(expected, binary_out)
    )
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == (case.model, case.served_version)
    assert_same(arrays(result), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_infer_without_listed_outputs_gives_all(http, case: Case):
    result = http.infer(case.model, inputs(case.inputs), case.version)
    assert_same(arrays(result), case.expected())


def test_binary_and_json_inputs_and_outputs_mix(http):
    case = next(case for case in CASES if case.name == "silero-vad")
    mixed = [
        client.InferInput(name, list(value.shape), DATATYPES[value.dtype]).set_data_from_numpy(value, name == "state")
        for name, value in case.inputs.items()
    ]
    wanted = [
        client.InferRequestedOutput("output", binary_data=False),
        client.InferRequestedOutput("stateN", binary_data=True),
    ]
    assert_same(arrays(http.infer(case.model, mixed, outputs=wanted)), case.expected())


def test_outputs_come_in_the_order_asked(http):
    case = next(case for case in CASES if case.name == "sentiment")
    expected = case.expected()
    order = list(reversed(expected))
    result = http.infer(case.model, inputs(case.inputs), outputs=outputs(order))
    assert_same(arrays(result), {name: expected[name] for name in order})


def test_one_output_alone(http):
    case = next(case for case in CASES if case.name == "sentiment")
    result = http.infer(case.model, inputs(case.inputs), outputs=outputs(["label"], binary=False))
    assert_same(arrays(result), {"label": case.expected()["label"]})


@pytest.mark.parametrize("request_compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_compression(http, request_compression, response_compression, binary):
    case = next(case for case in CASES if case.name == "magika")
    expected = case.expected()
    result = http.infer(
        case.model,
        inputs(case.inputs, binary),
        outputs=outputs(expected, binary),
        request_compression_algorithm=request_compression,
        response_compression_algorithm=response_compression,
    )
    assert_same(arrays(result), expected)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_classification(http, binary):
    case = next(case for case in CASES if case.name == "digits")
    wanted = client.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)
    got = http.infer(case.model, inputs(case.inputs), outputs=[wanted]).as_numpy("probabilities")
    assert got.tolist() == class_strings(case.expected()["probabilities"], 3, got)


def test_request_id_comes_back(http):
    case = CASES[0]
    result = http.infer(case.model, inputs(case.inputs), request_id="Anfrage-7")
    assert result.get_response()["id"] == "Anfrage-7"


def test_parameters_priority_and_timeout_are_taken(http):
    case = CASES[0]
    result = http.infer(
        case.model,
        inputs(case.inputs),
        case.version,
        priority=1,
        timeout=60_000_000,
        parameters={"number": 7, "large": 2**60, "fraction": 0.5, "text": "x", "flag": True},
    )
    assert_same(arrays(result), case.expected())


def test_state_is_carried_by_the_caller(http):
    """A voice in five pieces, the state tensor handed back each time."""
    case = next(case for case in CASES if case.name == "silero-vad")
    ours, theirs = dict(case.inputs), dict(case.inputs)
    for piece in range(5):
        ours["input"] = theirs["input"] = case.inputs["input"] * np.float32(1 + piece / 5)
        got = arrays(http.infer(case.model, inputs(ours)))
        expected = Case(case.name, case.model, "", theirs).expected()
        assert_same(got, expected)
        ours["state"], theirs["state"] = got["stateN"], expected["stateN"]


def test_large_batch(http):
    case = next(case for case in CASES if case.name == "breast-cancer-2")
    many = {"input": np.tile(case.inputs["input"], (4000, 1))}
    result = http.infer(case.model, inputs(many), case.version)
    assert_close(arrays(result), Case("large", case.model, case.version, many).expected())


def test_async_infer(http):
    pending = [
        (case, http.async_infer(case.model, inputs(case.inputs), case.version, request_id=f"{case.name}-{turn}"))
        for turn in range(10)
        for case in CASES
    ]
    for case, request in pending:
        result = request.get_result()
        assert result.get_response()["id"].startswith(case.name)
        assert_close(arrays(result), case.expected())


def test_async_infer_reports_errors(http):
    case = CASES[0]
    with pytest.raises(InferenceServerException, match="no-such-model"):
        http.async_infer("no-such-model", inputs(case.inputs)).get_result()


def test_aio(gateway):
    async def run() -> None:
        async with aio.InferenceServerClient(gateway.http) as http:
            assert await http.is_server_live()
            assert await http.is_server_ready()
            assert await http.is_model_ready("digits")
            assert_metadata(await http.get_model_metadata("digits"), "digits")
            assert (await http.get_model_config("digits"))["name"] == "digits"
            assert await http.get_model_repository_index()
            assert (await http.get_inference_statistics("digits"))["model_stats"]
            results = await asyncio.gather(
                *(http.infer(case.model, inputs(case.inputs), case.version) for case in CASES * 5)
            )
            for case, result in zip(CASES * 5, results, strict=True):
                assert_close(arrays(result), case.expected())
            with pytest.raises(InferenceServerException, match="no-such-model"):
                await http.infer("no-such-model", inputs(CASES[0].inputs))

    asyncio.run(run())


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=str)
def test_bad_requests(http, bad: BadRequest):
    with pytest.raises(InferenceServerException) as error:
        http.infer(bad.model, inputs(bad.inputs), bad.version, outputs=outputs(bad.outputs) if bad.outputs else None)
    assert error.value.status() == str(bad.http_status)
    for part in bad.names:
        assert part in error.value.message()
    assert http.is_server_live()


def test_http_on_the_grpc_listener(gateway):
    case = CASES[0]
    with client.InferenceServerClient(gateway.grpc) as http:
        assert_same(arrays(http.infer(case.model, inputs(case.inputs), case.version)), case.expected())
