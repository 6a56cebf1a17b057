"""KServe's own clients, unmodified, against the gateway.

In a process of their own: kserve and tritonclient both register the protocol's messages, and
protobuf refuses the second.
"""

import asyncio

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from models import CASES, DATATYPES, MODELS, Case, assert_same


def request(case: Case, binary: bool, outputs: list[RequestedOutput] | None = None) -> InferRequest:
    inputs = []
    for name, value in case.inputs.items():
        tensor = InferInput(name, list(value.shape), DATATYPES[value.dtype])
        tensor.set_data_from_numpy(value, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(
        model_name=case.model,
        infer_inputs=inputs,
        request_id="kserve-1",
        # What the caller asks of REST; harmless elsewhere.
        parameters={"binary_data_output": binary},
        request_outputs=outputs,
    )


def arrays(response) -> dict[str, np.ndarray]:
    return {output.name: output.as_numpy() for output in response.outputs}


# The REST client asks for no version, so every case here is of the newest one.
NEWEST = [case for case in CASES if case.name != "breast-cancer-1"]


def over_rest(gateway, action):
    async def run():
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            return await action(client, f"http://{gateway.http}")

    return asyncio.run(run())


def over_grpc(gateway, action):
    async def run():
        async with InferenceGRPCClient(gateway.grpc) as client:
            return await action(client)

    return asyncio.run(run())


def test_rest_health(gateway):
    async def action(client, url):
        assert await client.is_server_live(url) is True
        assert await client.is_server_ready(url) is True
        for model in MODELS:
            assert await client.is_model_ready(url, model) is True
        assert await client.is_model_ready(url, "no-such-model") is False

    over_rest(gateway, action)


@pytest.mark.parametrize("case", NEWEST, ids=str)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_rest_infer(gateway, case: Case, binary):
    response = over_rest(gateway, lambda client, url: client.infer(url, request(case, binary), case.model))
    assert response.model_name == case.model
    assert response.id == "kserve-1"
    assert_same(arrays(response), case.expected())


def test_rest_infer_with_listed_outputs(gateway):
    case = next(case for case in NEWEST if case.name == "sentiment")
    wanted = [RequestedOutput("probabilities", {"binary_data": True}), RequestedOutput("label", {"binary_data": False})]
    response = over_rest(gateway, lambda client, url: client.infer(url, request(case, True, wanted), case.model))
    expected = case.expected()
    assert_same(arrays(response), {name: expected[name] for name in ("probabilities", "label")})


def test_rest_infer_of_a_plain_dictionary(gateway):
    case = next(case for case in NEWEST if case.name == "digits")
    image = case.inputs["image"]
    data = {"inputs": [{"name": "image", "datatype": "FP32", "shape": image.shape, "data": image.ravel().tolist()}]}
    response = over_rest(gateway, lambda client, url: client.infer(url, data, "digits"))
    assert_same(arrays(response), case.expected())


def test_rest_error_says_what_is_wrong(gateway):
    with pytest.raises(httpx.HTTPStatusError, match="no-such-model.*404"):
        over_rest(gateway, lambda client, url: client.infer(url, request(CASES[0], True), "no-such-model"))


def test_grpc_health(gateway):
    async def action(client):
        assert await client.is_server_live() is True
        assert await client.is_server_ready() is True
        for model in MODELS:
            assert await client.is_model_ready(model) is True
        with pytest.raises(grpc.RpcError) as error:
            await client.is_model_ready("no-such-model")
        assert error.value.code() == grpc.StatusCode.NOT_FOUND

    over_grpc(gateway, action)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("binary", [True, False], ids=["raw", "typed"])
def test_grpc_infer(gateway, case: Case, binary):
    asked = request(case, binary)
    asked.model_version = case.version
    response = over_grpc(gateway, lambda client: client.infer(asked))
    assert (response.model_name, response.model_version) == (case.model, case.served_version)
    assert response.id == "kserve-1"
    assert_same(arrays(response), case.expected())


def test_grpc_error_says_what_is_wrong(gateway):
    asked = request(CASES[0], True)
    asked.model_name = "no-such-model"
    with pytest.raises(grpc.RpcError, match="no-such-model") as error:
        over_grpc(gateway, lambda client: client.infer(asked))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
