#!/usr/bin/env python3
"""Writes the seed corpora: small valid requests of every kind, in each wire form.

Needs only Python; the few protobuf fields are encoded by hand.
"""

import gzip
import struct
import sys
from pathlib import Path

JSON = [
    '{"id":"a","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[-3e2,NaN]]}]}',
    '{"inputs":[{"name":"x","data":[1,[2,3]],"shape":[3],"datatype":"INT64"}],'
    '"parameters":{"binary_data_output":true,"n":18446744073709551615,"f":0.5,"s":"\\u00e9"}}',
    '{"inputs":[{"name":"s","shape":[2],"datatype":"BYTES","data":["a\\n","\\ud83d\\ude00"]},'
    '{"name":"b","shape":[1],"datatype":"BOOL","data":[true]}],'
    '"outputs":[{"name":"y","parameters":{"classification":3,"binary_data":false}}]}',
    '{"inputs":[{"name":"h","shape":[],"datatype":"FP16","data":[0.1]},'
    '{"name":"u","shape":[2],"datatype":"UINT8","data":[0,255]},'
    '{"name":"e","shape":[0,4],"datatype":"FP64","data":[]}]}',
    '{"id":null,"outputs":null,"inputs":[],"unknown":{"deep":[[[]]],"t":[true,false,null]}}',
]


def binary(parts, tail):
    json = ('{"inputs":[' + ",".join(parts) + "]}").encode()
    return struct.pack("<H", len(json)) + json + tail


def binary_input(name, dtype, shape, size):
    return (
        f'{{"name":"{name}","datatype":"{dtype}","shape":{shape},'
        f'"parameters":{{"binary_data_size":{size}}}}}'
    )


BINARY = [
    binary([binary_input("x", "FP32", "[1,2]", 8)], struct.pack("<2f", 1, 2)),
    binary(
        [
            binary_input("s", "BYTES", "[2]", 11),
            '{"name":"i","datatype":"INT8","shape":[1],"data":[5]}',
            binary_input("e", "INT64", "[0]", 0),
        ],
        b"\x03\0\0\0a\0b\0\0\0\0",
    ),
    struct.pack("<H", 0) + b"raw bytes",
    struct.pack("<H", 9) + gzip.compress(b"hello", mtime=0),
]


def varint(value):
    out = b""
    value &= (1 << 64) - 1
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, dtype, shape, contents=b""):
    out = field(1, name) + field(2, dtype) + field(3, b"".join(map(varint, shape)))
    return field(5, out + (field(5, contents) if contents else b""))


def parameter(key, value):
    return field(4, field(1, key) + field(2, value))


PROTOBUF = [
    field(1, "m") + field(3, "id") + tensor("x", "FP32", [1, 2]) + field(7, struct.pack("<2f", 1, 2)),
    tensor("x", "INT8", [2], field(2, varint(-1) + varint(5)))
    + tensor("s", "BYTES", [2], field(8, "ab") + field(8, b"\xff\0")),
    tensor("f", "FP64", [1], field(7, struct.pack("<d", 0.5)))
    + tensor("u", "UINT64", [1], field(5, varint(2**64 - 1)))
    + tensor("b", "BOOL", [1], field(1, varint(1)))
    + parameter("i", field(2, -7))
    + parameter("t", field(3, "text"))
    + field(6, field(1, "y") + field(2, field(1, "classification") + field(2, field(2, 3)))),
    tensor("e", "FP16", [0, 3]) + tensor("s", "BYTES", [1]) + field(7, b"") + field(7, b"\x01\0\0\0z"),
]


def weights(*parts):
    return field(1, 2) + field(2, 1) + field(8, "w") + b"".join(parts)


def model(graph, *more):
    return field(1, 9) + field(7, graph) + field(8, field(2, 21)) + b"".join(more)


def entry(key, value):
    return field(13, field(1, key) + field(2, value))


RAW = weights(field(9, bytes(8)))
EXTERNAL = weights(entry("location", "w.bin"), entry("offset", "8"), field(14, 1))
NODE = field(4, "Constant") + field(5, field(1, "value") + field(5, RAW) + field(20, 4))

ONNX = [
    model(field(1, NODE) + field(5, RAW)),
    model(field(5, EXTERNAL)),
    model(field(15, field(1, RAW) + field(2, RAW) + field(3, 4))),
    model(
        field(1, field(4, "If") + field(5, field(6, field(1, NODE) + field(5, EXTERNAL)))),
        field(25, field(1, "F") + field(10, "local") + field(7, NODE)),
        field(20, field(1, field(5, EXTERNAL))),
    ),
    model(field(1, field(4, "F") + field(7, "local"))),
]


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "corpus")
    for target, seeds in [
        ("json_infer", [seed.encode() for seed in JSON]),
        ("binary_infer", BINARY),
        ("protobuf_infer", PROTOBUF),
        ("onnx_scan", ONNX),
    ]:
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(seeds):
            (folder / f"seed-{index}").write_bytes(seed)


main()
