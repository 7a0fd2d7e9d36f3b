#!/usr/bin/env python3
"""Overwrite values of an f32 or bf16 tensor in a model file: patch_rows.py FILE TENSOR WHAT
WHAT: hard (rows that encoders trip over), spread (values over ten orders of magnitude, like an
importance matrix can hold), or ROW,COLUMN=VALUE."""
import math
import os
import random
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare_gguf import read  # noqa: E402


def bell(deviation):
    return random.gauss(0, deviation)


HARD = [
    lambda j: 0.0,
    lambda j: -0.0,
    lambda j: 0.25,
    lambda j: -1e-3,
    lambda j: -1000.0 if j == 99 else bell(0.02),
    lambda j: bell(1e-42),
    lambda j: bell(1e-7),
    lambda j: bell(1e-30),
    lambda j: bell(1) * 2.0 ** -(j % 50),
    lambda j: 1000.0 if j % 2 else -1000.0,
    lambda j: bell(1) if j == 5 else 0.0,
    lambda j: 0.5 + bell(0.01),
]


def main():
    path, wanted, what = sys.argv[1:]
    model = read(path)
    _, shape, kind, at = next(t for t in model["tensors"] if t[0] == wanted)
    width = {0: 4, 30: 2}[kind]  # bf16 is the upper half of an f32
    at += model["size"] - model["data"]
    random.seed(7)
    n_rows = math.prod(shape[1:])
    with open(path, "r+b") as out:
        def put(i, values):
            out.seek(at + i * width)
            out.write(b"".join(struct.pack("<f", v)[4 - width:] for v in values))
        if what in ("hard", "spread"):
            for i in range(n_rows):
                put(i * shape[0], [HARD[i % len(HARD)](j) if what == "hard" else
                                   10 ** random.uniform(-10, 0) for j in range(shape[0])])
        else:
            place, value = what.split("=")
            row, column = map(int, place.split(","))
            put(row * shape[0] + column, [float.fromhex(value) if value.startswith("0x") else float(value)])


if __name__ == "__main__":
    main()
