#!/usr/bin/env python3
"""Hold the results of one command against those of the peer's: compare_peer.py KIND OURS PEERS

OURS and PEERS are folders; a run left its files there (out*) and what it printed (printed.txt).
KIND, from the table of docs/coming-from-llama.cpp.md:
  files       the files are equal byte for byte
  tensors     one model each: names, types, shapes and data in order, and keys but split.*
  model       as tensors, of model.gguf, which was edited in place
  sums        importance matrices: the same weights, counts equal, sums within 0.4 % (the
              peer rounds activations to the 16 bits of the weights)
  perplexity  the final estimate within 0.1 %
  statistics  each line of the divergence report, by its name
  score       the share of right answers, in percent
  table       rows of numbers by layer and tensor, to the digits printed
  lines       the printed lines that hold a digest, in any order
Reads the files on its own, with none of our code. Prints one line; exit status 1 when something
differs.
"""
import math
import os
import re
import struct
import sys

import compare_gguf


def printed(folder):
    with open(os.path.join(folder, "printed.txt"), encoding="utf-8", errors="replace") as f:
        return f.read()


def outputs(folder):
    return sorted(n for n in os.listdir(folder) if n.startswith("out"))


def bytes_of(folder, name):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def files(ours, peers):
    a, b = outputs(ours), outputs(peers)
    if a != b or not a:
        return f"files {a} / {b}"
    for name in a:
        if bytes_of(ours, name) != bytes_of(peers, name):
            return f"{name} differs"
    return None


def read_model(path):
    """Keys, tensors with their bytes."""
    m = compare_gguf.read(path)
    with open(path, "rb") as f:
        data = f.read()
    start = len(data) - m["data"]
    ends = sorted(t[3] for t in m["tensors"]) + [m["data"]]
    tensors = {}
    for name, shape, kind, offset in m["tensors"]:
        end = next(e for e in ends if e > offset)
        tensors[name] = (shape, kind, data[start + offset:start + end])
    keys = {k: v[:2] for k, v in m["keys"].items() if not k.startswith(("split.", "tamis."))}
    return keys, tensors


def tensors(ours, peers, name=None):
    (keys_a, a), (keys_b, b) = (read_model(os.path.join(d, name or outputs(d)[0]))
                                for d in (ours, peers))
    if list(a) != list(b):
        return "tensor names or their order"
    for name in a:
        if a[name] != b[name]:
            return f"tensor {name}"
    for name in sorted(set(keys_a) | set(keys_b)):
        if keys_a.get(name) != keys_b.get(name):
            return f"key {name}: {keys_a.get(name)} / {keys_b.get(name)}"
    return None


def model(ours, peers):
    return tensors(ours, peers, "model.gguf")


def legacy_matrix(data):
    """{weight: (counts, values)} of the legacy layout; the calls stand for the counts."""
    at, out = 4, {}
    for _ in range(struct.unpack_from("<i", data)[0]):
        n_name, = struct.unpack_from("<i", data, at)
        name = data[at + 4:at + 4 + n_name].decode()
        at += 4 + n_name
        n_call, n_values = struct.unpack_from("<ii", data, at)
        out[name] = ((n_call,), struct.unpack_from(f"<{n_values}f", data, at + 8))
        at += 8 + 4 * n_values
    return out


def matrix(path):
    with open(path, "rb") as f:
        data = f.read()
    if data[:4] != b"GGUF":
        return legacy_matrix(data)
    out = {}
    for name, (shape, _, raw) in read_model(path)[1].items():
        n = math.prod(shape)
        weight, what = name.rsplit(".", 1)
        values = struct.unpack_from(f"<{n}f", raw)
        counts, sums = out.get(weight, (None, None))
        out[weight] = (values, sums) if what == "counts" else (counts, values)
    return out


def sums(ours, peers):
    a, b = (matrix(os.path.join(d, outputs(d)[0])) for d in (ours, peers))
    if sorted(a) != sorted(b) or not a:
        return f"weights {sorted(set(a) ^ set(b))[:4]}"
    for name in a:
        if a[name][0] != b[name][0]:
            return f"{name}: counts {a[name][0][:4]} / {b[name][0][:4]}"
        total = sum(b[name][1])
        off = sum(abs(x - y) for x, y in zip(a[name][1], b[name][1]))
        if len(a[name][1]) != len(b[name][1]) or off > 4e-3 * total:
            return f"{name}: sums off by {off / total:.2e} of their total"
    return None


def final_ppl(text):
    found = re.findall(r"PPL = ([0-9.]+)", text)
    return float(found[-1]) if found else None


def perplexity(ours, peers):
    a, b = final_ppl(printed(ours)), final_ppl(printed(peers))
    if a is None or b is None or abs(a - b) > 1e-3 * b:
        return f"PPL {a} / {b}"
    return None


STATISTIC = re.compile(r"^ *([^:\n]*?[A-Za-z)]) *: *(-?[0-9.]+)", re.M)


def statistics(ours, peers):
    """Both under the same names. Ours is the exact divergence, the peer's of 16-bit values: means
    agree to 1 %, single positions to 2e-3 in nats; Δp in points of percent."""
    a, b = (dict((re.sub(r"\s+", " ", k), float(v)) for k, v in STATISTIC.findall(printed(d)))
            for d in (ours, peers))
    names = [k for k in b if "KLD" in k or "Δp" in k or "PPL" in k or k == "Same top p"]
    if len(names) < 30:
        return f"the peer printed {len(names)} statistics"
    for name in names:
        if name not in a:
            return f"no '{name}'"
        floor = 0.35 if "Δp" in name or name == "Same top p" else 2e-3
        if "Mean" in name and "KLD" in name:
            floor = 5e-5
        if abs(a[name] - b[name]) > max(0.01 * abs(b[name]), floor):
            return f"{name}: {a[name]} / {b[name]}"
    return None


def score(ours, peers):
    a = re.search(r" [kMG]B +([0-9.]+) ±", printed(ours))
    b = re.findall(r"^[0-9]+\t *([0-9.]+)", printed(peers), re.M)
    if not a or not b or abs(float(a[1]) - float(b[-1])) > 1e-3:
        return f"score {a and a[1]} / {b[-1:]}"
    return None


ROW = re.compile(r"^(?:[0-9.]+ I )? *([0-9]+|-)\s+([a-z_]+)\s+((?:-?[0-9.]+%?\s*){5,})$", re.M)


def table(ours, peers):
    a, b = ({(m[0], m[1]): [float(v.rstrip("%")) for v in m[2].split()]
             for m in ROW.findall(printed(d))} for d in (ours, peers))
    if sorted(a) != sorted(b) or not a:
        return f"{len(a)} / {len(b)} rows"
    for key in b:
        for x, y in zip(a[key], b[key]):
            if abs(x - y) > max(1e-4 * abs(y), 0.0101):
                return f"{key}: {a[key]} / {b[key]}"
    return None


def lines(ours, peers):
    a, b = (sorted(re.sub(r"\s+", " ", line).strip() for line in printed(d).splitlines()
                   if re.search(r"[0-9a-f]{8}", line)) for d in (ours, peers))
    if a != b or not a:
        return f"{len(a)} / {len(b)} lines, first {a[:1]} / {b[:1]}"
    return None


def main():
    kinds = {f.__name__: f for f in (files, tensors, model, sums, perplexity, statistics, score,
                                   table, lines)}
    found = kinds[sys.argv[1]](sys.argv[2], sys.argv[3])
    print(found or "equal")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
