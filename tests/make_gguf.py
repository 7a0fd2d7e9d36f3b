"""make_gguf - small made-up GGUF files for the end-to-end scripts.

write(path, architecture, tensors, keys) with keys from u32, boolean, text_key, array and tensors
from f32, bf16 (seeded random weights, shape in the order of the file)."""
import random
import struct

random.seed(1)


def text(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def u32(key, value):
    return text(key) + struct.pack("<II", 4, value)


def real(key, value):
    return text(key) + struct.pack("<If", 6, value)


def boolean(key, value):
    return text(key) + struct.pack("<I?", 7, value)


def text_key(key, value):
    return text(key) + struct.pack("<I", 8) + text(value)


def array(key, code, kind, values):
    """code: of struct, e.g. "I"; kind: of GGUF, e.g. 4"""
    return text(key) + struct.pack("<IIQ", 9, kind, len(values)) + struct.pack(f"<{len(values)}{code}", *values)


def _values(ne):
    n = 1
    for x in ne:
        n *= x
    return [random.gauss(0, 0.1) for _ in range(n)]


def f32(name, *ne):
    values = _values(ne)
    return name, 0, ne, struct.pack(f"<{len(values)}f", *values)


def bf16(name, *ne):
    data = b"".join(struct.pack("<f", x)[2:] for x in _values(ne))
    return name, 30, ne, data


def write(path, architecture, tensors, keys=(), align=32):
    keys = [text_key("general.architecture", architecture), *keys]
    infos = data = b""
    for name, kind, ne, values in tensors:
        infos += text(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}Q", *ne)
        infos += struct.pack("<IQ", kind, len(data))
        data += values + bytes(-len(values) % align)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % align) + data)


def extend(source, path, tensors, keys=()):
    """A copy of a file (alignment 32, one file) with tensors and keys added at the end."""
    import compare_gguf
    r = compare_gguf.read(source)
    data = open(source, "rb").read()
    at = 24 + sum(n for _, _, n in r["keys"].values())
    old_keys, old_infos = data[24:at], data[at:r["head"]]
    body = data[-(-r["head"] // 32) * 32:]
    body += bytes(-len(body) % 32)
    infos = b""
    for name, kind, ne, values in tensors:
        infos += text(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}Q", *ne)
        infos += struct.pack("<IQ", kind, len(body))
        body += values + bytes(-len(values) % 32)
    n_tensors, n_keys = len(r["tensors"]) + len(tensors), len(r["keys"]) + len(keys)
    head = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_keys) + old_keys + b"".join(keys) + old_infos + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + body)
