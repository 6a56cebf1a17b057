"""Requests that must be refused, and how."""

from dataclasses import dataclass, field

import numpy as np

from models import CASES


@dataclass(frozen=True)
class BadRequest:
    name: str
    http_status: int
    grpc_code: str
    # What the message must name, so that the caller can tell what is wrong.
    names: tuple[str, ...]
    model: str
    inputs: dict[str, np.ndarray]
    version: str = ""
    outputs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name


CANCER = next(case for case in CASES if case.name == "breast-cancer-newest").inputs
VOICE = next(case for case in CASES if case.name == "silero-vad").inputs
ROWS = CANCER["input"]

BAD_REQUESTS = [
    BadRequest("unknown-model", 404, "NOT_FOUND", ("no-such-model",), "no-such-model", CANCER),
    BadRequest("unknown-version", 404, "NOT_FOUND", ("breast-cancer", "99"), "breast-cancer", CANCER, version="99"),
    BadRequest("unknown-input", 400, "INVALID_ARGUMENT", ("inputs_",), "breast-cancer", {"inputs_": ROWS}),
    BadRequest(
        "missing-input", 400, "INVALID_ARGUMENT", ("sr",), "silero-vad",
        {name: value for name, value in VOICE.items() if name != "sr"},
    ),
    BadRequest("extra-input", 400, "INVALID_ARGUMENT", ("more",), "breast-cancer", {**CANCER, "more": ROWS}),
    BadRequest(
        "wrong-datatype", 400, "INVALID_ARGUMENT", ("input", "FP64", "FP32"), "breast-cancer",
        {"input": ROWS.astype(np.float64)},
    ),
    BadRequest("wrong-size", 400, "INVALID_ARGUMENT", ("input", "29", "30"), "breast-cancer", {"input": ROWS[:, :29]}),
    BadRequest("wrong-rank", 400, "INVALID_ARGUMENT", ("input", "30"), "breast-cancer", {"input": ROWS[0]}),
    BadRequest("unknown-output", 400, "INVALID_ARGUMENT", ("scores",), "breast-cancer", CANCER, outputs=["scores"]),
]  # fmt: skip
