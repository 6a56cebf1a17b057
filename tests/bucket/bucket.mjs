// Which variant a unit gets, computed outside the gateway. Needs no packages.
// Reads and writes what bucket.py does.

import { readFileSync } from "node:fs";

const PRIME1 = 0x9e3779b185ebca87n;
const PRIME2 = 0xc2b2ae3d27d4eb4fn;
const PRIME3 = 0x165667b19e3779f9n;
const PRIME4 = 0x85ebca77c2b2ae63n;
const PRIME5 = 0x27d4eb2f165667c5n;

const cut = (value) => BigInt.asUintN(64, value);
const rotate = (value, bits) => cut((value << bits) | (value >> (64n - bits)));
const mixed = (lane, word) => cut(rotate(cut(lane + word * PRIME2), 31n) * PRIME1);

// XXH64 with seed 0.
export function xxh64(data) {
  let at = 0;
  let value = PRIME5;
  if (data.length >= 32) {
    let lanes = [cut(PRIME1 + PRIME2), PRIME2, 0n, cut(-PRIME1)];
    while (at + 32 <= data.length) {
      lanes = lanes.map((lane, i) => mixed(lane, data.readBigUInt64LE(at + 8 * i)));
      at += 32;
    }
    const bits = [1n, 7n, 12n, 18n];
    value = cut(lanes.reduce((sum, lane, i) => sum + rotate(lane, bits[i]), 0n));
    for (const lane of lanes) {
      value = cut((value ^ mixed(0n, lane)) * PRIME1 + PRIME4);
    }
  }
  value = cut(value + BigInt(data.length));
  while (at + 8 <= data.length) {
    value = cut(rotate(value ^ mixed(0n, data.readBigUInt64LE(at)), 27n) * PRIME1 + PRIME4);
    at += 8;
  }
  if (at + 4 <= data.length) {
    const word = BigInt(data.readUInt32LE(at));
    value = cut(rotate(value ^ cut(word * PRIME1), 23n) * PRIME2 + PRIME3);
    at += 4;
  }
  for (; at < data.length; at++) {
    value = cut(rotate(value ^ cut(BigInt(data[at]) * PRIME5), 11n) * PRIME1);
  }
  value = cut((value ^ (value >> 33n)) * PRIME2);
  value = cut((value ^ (value >> 29n)) * PRIME3);
  return value ^ (value >> 32n);
}

// Hash and slot of a unit, which is a Buffer.
export function bucket(salt, unit) {
  const hash = xxh64(Buffer.concat([Buffer.from(salt + "\0", "utf8"), unit]));
  return { hash, slot: Number(((hash >> 32n) * 100000n) >> 32n) };
}

export function variant(variants, slot) {
  let start = 0;
  for (const { name, weight, maxWeight } of variants) {
    if (start <= slot && slot < start + weight) return name;
    start += maxWeight;
  }
  return "champion";
}

const lines = [];
for (const { salt, variants, units } of JSON.parse(readFileSync(0, "utf8"))) {
  for (const text of units) {
    const unit = Buffer.from(text, "hex");
    const { hash, slot } = bucket(salt + "/split", unit);
    const shadow = bucket(salt + "/shadow", unit);
    const name = variant(variants, slot);
    lines.push(`${hash.toString(16).padStart(16, "0")} ${slot} ${shadow.slot} ${name}`);
  }
}
process.stdout.write(lines.join("\n") + "\n");
