#!/usr/bin/env python3
"""Hold one model file (or split set) against another: compare_gguf.py OURS PEERS [SIZE]

Tensor names, order, types, shapes and offsets must be equal, and so must the metadata, but for the
order of keys, our own tamis.* keys, and the folder in quantize.imatrix.*; the size of each file but
for what those keys take. SIZE: what a dry run said of ours, all files together. Reads the files on
its own, with none of our code. Prints one line; exit status 1 when something differs.
"""
import re
import struct
import sys

KINDS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Reader:
    def __init__(self, path):
        self.data = open(path, "rb").read()
        self.at = 0

    def take(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, n = self.take("I"), self.take("Q")
            return inner, [self.value(inner) for _ in range(n)]
        return self.take(KINDS[kind])


def read(path):
    """Keys {name: (kind, value, bytes of its record)}, tensors, and sizes of one file."""
    r = Reader(path)
    assert r.data[:4] == b"GGUF", path
    r.at = 8
    n_tensors, n_keys = r.take("Q"), r.take("Q")
    keys = {}
    for _ in range(n_keys):
        start = r.at
        name, kind = r.text().decode(), r.take("I")
        value = r.value(kind)
        keys[name] = (kind, value, r.at - start)
    tensors = []
    for _ in range(n_tensors):
        name = r.text().decode()
        shape = [r.take("Q") for _ in range(r.take("I"))]
        tensors.append((name, shape, r.take("I"), r.take("Q")))
    align = keys["general.alignment"][1] if "general.alignment" in keys else 32
    head = r.at
    start = (head + align - 1) // align * align
    return {"keys": keys, "tensors": tensors, "head": head, "size": len(r.data),
            "data": len(r.data) - start}


def files_of(path):
    m = re.match(r"(.*)-00001-of-(\d{5})\.gguf$", path)
    if not m:
        return [path]
    return [f"{m[1]}-{i + 1:05d}-of-{m[2]}.gguf" for i in range(int(m[2]))]


def comparable(keys):
    out = {}
    for name, (kind, value, _) in keys.items():
        if name.startswith("tamis."):
            continue
        if name in ("quantize.imatrix.file", "quantize.imatrix.dataset"):
            value = value.rsplit(b"/", 1)[-1]
        out[name] = (kind, value)
    return out


def differences(ours, peers):
    found = []
    for a, b in zip(ours["tensors"], peers["tensors"]):
        if a != b:
            found.append(f"tensor {a} / {b}")
    if len(ours["tensors"]) != len(peers["tensors"]):
        found.append(f"{len(ours['tensors'])} / {len(peers['tensors'])} tensors")
    if ours["data"] != peers["data"]:
        found.append(f"{ours['data']} / {peers['data']} bytes of data")
    a, b = comparable(ours["keys"]), comparable(peers["keys"])
    for name in sorted(set(a) | set(b)):
        if a.get(name) != b.get(name):
            found.append(f"key {name}: {str(a.get(name))[:60]} / {str(b.get(name))[:60]}")
    # The headers differ by the keys that only one side has and by shortened names, to the byte.
    own = sum(n for name, (_, _, n) in ours["keys"].items())
    other = sum(n for name, (_, _, n) in peers["keys"].items())
    if ours["head"] - own != peers["head"] - other:
        found.append("the headers differ by more than their keys")
    return found


def main():
    ours, peers = (files_of(p) for p in sys.argv[1:3])
    if len(ours) != len(peers):
        sys.exit(f"{len(ours)} / {len(peers)} files")
    found, total, peers_total, n_tensors = [], 0, 0, 0
    for a, b in zip(ours, peers):
        x, y = read(a), read(b)
        found += differences(x, y)
        total += x["size"]
        peers_total += y["size"]
        n_tensors += len(x["tensors"])
    if len(sys.argv) > 3 and int(sys.argv[3]) != total:
        found.append(f"the dry run said {sys.argv[3]} bytes, the files have {total}")
    print(f"{n_tensors} tensors, {total} bytes, peer {peers_total}")
    for line in found[:5]:
        print("   ", line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
