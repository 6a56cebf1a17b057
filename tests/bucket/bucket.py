"""Which variant a unit gets, computed outside the gateway. Needs no packages.

Reads one JSON document, a list of routes, from standard input:

    [{"salt": "fraud/r-01",
      "variants": [{"name": "candidate", "weight": 5000, "maxWeight": 50000}],
      "units": ["757365722d31"]}]

`salt` is the base salt, weights are thousandths of a percent in the document's
order without the champion, units are bytes in hexadecimal. Writes a line for
each unit: hash, slot, slot of the shadow's sample, variant.
"""

import json
import sys

MASK = (1 << 64) - 1
PRIME1 = 0x9E3779B185EBCA87
PRIME2 = 0xC2B2AE3D27D4EB4F
PRIME3 = 0x165667B19E3779F9
PRIME4 = 0x85EBCA77C2B2AE63
PRIME5 = 0x27D4EB2F165667C5


def rotate(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def mixed(lane, word):
    return rotate((lane + word * PRIME2) & MASK, 31) * PRIME1 & MASK


def xxh64(data):
    """XXH64 with seed 0."""

    def word(at, size):
        return int.from_bytes(data[at : at + size], "little")

    at = 0
    if len(data) >= 32:
        lanes = [(PRIME1 + PRIME2) & MASK, PRIME2, 0, -PRIME1 & MASK]
        while at + 32 <= len(data):
            lanes = [mixed(lane, word(at + 8 * i, 8)) for i, lane in enumerate(lanes)]
            at += 32
        sums = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18)))
        value = sums & MASK
        for lane in lanes:
            value = ((value ^ mixed(0, lane)) * PRIME1 + PRIME4) & MASK
    else:
        value = PRIME5
    value = (value + len(data)) & MASK
    while at + 8 <= len(data):
        value = (rotate(value ^ mixed(0, word(at, 8)), 27) * PRIME1 + PRIME4) & MASK
        at += 8
    if at + 4 <= len(data):
        value = (rotate(value ^ (word(at, 4) * PRIME1 & MASK), 23) * PRIME2 + PRIME3) & MASK
        at += 4
    while at < len(data):
        value = rotate(value ^ (data[at] * PRIME5 & MASK), 11) * PRIME1 & MASK
        at += 1
    value = (value ^ (value >> 33)) * PRIME2 & MASK
    value = (value ^ (value >> 29)) * PRIME3 & MASK
    return value ^ (value >> 32)


def bucket(salt, unit):
    """Hash and slot of a unit, which is bytes."""
    value = xxh64(salt.encode() + b"\0" + unit)
    return value, (value >> 32) * 100_000 >> 32


def variant(variants, slot):
    start = 0
    for one in variants:
        if start <= slot < start + one["weight"]:
            return one["name"]
        start += one["maxWeight"]
    return "champion"


def main():
    for route in json.load(sys.stdin):
        for text in route["units"]:
            unit = bytes.fromhex(text)
            value, slot = bucket(route["salt"] + "/split", unit)
            _, shadow_slot = bucket(route["salt"] + "/shadow", unit)
            print(f"{value:016x} {slot} {shadow_slot} {variant(route['variants'], slot)}")


if __name__ == "__main__":
    main()
