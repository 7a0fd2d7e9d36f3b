#!/usr/bin/env python3
"""Write formats/codebooks.c from the text codebooks.

usage: scripts/codebooks.py DIRECTORY > formats/codebooks.c

DIRECTORY holds one text file per codebook, a comment line and then one entry per line.
A grid entry is packed into 16 bits, element 0 lowest: 2 bits per element for the grids of
eight, 3 bits for those of four; formats/codebooks.h says which code is which value.
"""
import os
import sys

IQ2 = [8, 25, 43]
IQ1 = [-1, 0, 1]
GRIDS = [  # file, array, number of entries, values by code, bits per element
    ("iq2xxs", "tamis_iq2_xxs_grid", 256, IQ2, 2),
    ("iq2xs", "tamis_iq2_xs_grid", 512, IQ2, 2),
    ("iq2s", "tamis_iq2_s_grid", 1024, IQ2, 2),
    ("iq3xxs", "tamis_iq3_xxs_grid", 256, [4, 12, 20, 28, 36, 44, 52, 62], 3),
    ("iq3s", "tamis_iq3_s_grid", 512, [1, 3, 5, 7, 9, 11, 13, 15], 3),
    ("iq1s", "tamis_iq1_s_grid", 2048, IQ1, 2),
    ("fork_iq1_xs", "tamis_iq1_xs_grid", 1024, IQ1, 2),
    ("fork_iq1_xxs", "tamis_iq1_xxs_grid", 512, IQ1, 2),
    ("fork_iq1_xxxs", "tamis_iq1_xxxs_grid", 256, IQ1, 2),
]
VALUES = [  # file, array
    ("kvalues_iq4nl", "tamis_iq4_nl_values"),
    ("kvalues_mxfp4", "tamis_fp4_values"),
]

HEAD = """/* codebooks.c - numbers fixed by the block formats: element values and grids.
 * Written by scripts/codebooks.py; change that, not this.
 * Packing and the way back: codebooks.h. Meaning: reference/tensor-types.md section 4. */
#include "formats/codebooks.h"

/* clang-format off */"""


def rows(directory, name):
    with open(os.path.join(directory, name + ".txt"), encoding="ascii") as f:
        return [[int(v) for v in line.split()] for line in f if line.strip() and line[0] != "#"]


def packed(row, values, bits):
    return sum(values.index(v) << (bits * i) for i, v in enumerate(row))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(HEAD)
    for name, array in VALUES:
        values = [row[0] for row in rows(sys.argv[1], name)]
        assert len(values) == 16
        print(f"\nconst int8_t {array}[16] = {{\n    {', '.join(map(str, values))},\n}};")
    for name, array, n_entries, values, bits in GRIDS:
        codes = [packed(row, values, bits) for row in rows(sys.argv[1], name)]
        assert len(codes) == n_entries
        print(f"\nconst uint16_t {array}[{n_entries}] = {{")
        for i in range(0, n_entries, 16):
            print("    " + " ".join(f"{c}," for c in codes[i:i + 16]))
        print("};")


main()
