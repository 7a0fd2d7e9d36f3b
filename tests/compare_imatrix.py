#!/usr/bin/env python3
"""Hold one importance matrix against another: compare_imatrix.py OURS PEERS [TOLERANCE]

Every entry of PEERS must be in OURS with the same counts, expert by expert, and sums within
TOLERANCE (default 1e-3), relative, of each column; columns whose sum is below 1e-6 of the entry's
largest are held against that. Reads the GGUF layout on its own, with none of our code. Prints one
line (entries in common, those only in OURS, the largest difference); exit status 1 when something
differs.
"""
import array
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare_gguf import Reader  # noqa: E402


def entries(path):
    """{tensor name: (sums, counts)}"""
    r = Reader(path)
    assert r.data[:4] == b"GGUF", path
    r.at = 8
    n_tensors, n_keys = r.take("Q"), r.take("Q")
    align = 32
    for _ in range(n_keys):
        name, kind = r.text(), r.take("I")
        value = r.value(kind)
        if name == b"general.alignment":
            align = value
    tensors = {}
    for _ in range(n_tensors):
        name, n = r.text().decode(), 1
        for _ in range(r.take("I")):
            n *= r.take("Q")
        assert r.take("I") == 0, f"{path}: {name} is no F32"
        tensors[name] = (n, r.take("Q"))
    start = (r.at + align - 1) // align * align

    def values(name):
        n, offset = tensors[name]
        return array.array("f", r.data[start + offset:start + offset + 4 * n])

    suffix = ".in_sum2"
    names = [n[:-len(suffix)] for n in tensors if n.endswith(suffix)]
    return {n: (values(n + suffix), values(n + ".counts")) for n in names}


def main():
    ours, peers = entries(sys.argv[1]), entries(sys.argv[2])
    tolerance = float(sys.argv[3]) if len(sys.argv) > 3 else 1e-3
    worst, where, problems = 0.0, "", []
    for name, (sums, counts) in peers.items():
        if name not in ours:
            problems.append(f"{name} is missing")
            continue
        if ours[name][1] != counts:
            problems.append(f"{name}: counts {list(ours[name][1])}, expected {list(counts)}")
            continue
        floor = 1e-6 * max(sums)
        for a, b in zip(ours[name][0], sums):
            off = abs(a - b) / max(abs(b), floor) if a != b else 0.0
            if not off <= worst:
                worst, where = off, name
    if not worst <= tolerance:
        problems.append(f"sums of {where} differ by {worst:.2g}")
    print(f"{len(peers)} entries in common, {len(ours) - len(peers)} more, "
          f"sums within {worst:.1e} ({where}) {'; '.join(problems)}")
    sys.exit(bool(problems))


main()
