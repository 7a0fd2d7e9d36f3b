"""derive_gguf - a model file as another architecture, for the end-to-end scripts.

derive(source, path, architecture, rename, more_keys, more_tensors): keys of the source's architecture
get the new one's name, rename(tensor name) gives the new name, or None to leave it out."""
import struct

import compare_gguf
from make_gguf import text, text_key

BYTES = {0: 4, 1: 2, 30: 2}  # of a value: f32, f16, bf16


def derive(source, path, architecture, rename=lambda name: name, more_keys=(), more_tensors=()):
    data = open(source, "rb").read()
    r = compare_gguf.read(source)
    old = r["keys"]["general.architecture"][1].decode() + "."
    at, keys = 24, []
    for key, (_, _, n_bytes) in r["keys"].items():
        record = data[at:at + n_bytes]
        at += n_bytes
        if key == "general.architecture":
            record = text_key(key, architecture)
        elif key.startswith(old):
            record = text(architecture + "." + key[len(old):]) + record[8 + len(key.encode()):]
        keys.append(record)
    start = -(-r["head"] // 32) * 32
    tensors = []
    for name, ne, kind, offset in r["tensors"]:
        n = BYTES[kind]
        for x in ne:
            n *= x
        if rename(name):
            tensors.append((rename(name), kind, ne, data[start + offset:start + offset + n]))
    keys += more_keys
    infos = body = b""
    for name, kind, ne, values in [*tensors, *more_tensors]:
        infos += text(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}Q", *ne)
        infos += struct.pack("<IQ", kind, len(body))
        body += values + bytes(-len(values) % 32)
    n_tensors = len(tensors) + len(more_tensors)
    head = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, len(keys)) + b"".join(keys) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + body)
