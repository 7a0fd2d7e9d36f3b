#!/usr/bin/env python3
"""Record which type llama-quantize gives every tensor: quantize_mixes.py LLAMA_QUANTIZE IMATRIX

Writes quantize_mixes.tsv (read by test_quantize_mixes.c) to standard output. The models are made
here: headers with tensors of a few rows. IMATRIX is any importance matrix the program can load.
"""
import os
import re
import struct
import subprocess
import sys
import tempfile

# name, architecture, layers, heads, heads_kv, experts, tied, kinds of tensors, row length
MODELS = [
    ("gqa1", "llama", 8, 8, 8, 0, 0, "dense", 256),
    ("gqa2-tied", "llama", 9, 8, 4, 0, 1, "dense", 256),
    ("gqa4", "llama", 16, 8, 2, 0, 0, "dense", 256),
    ("gqa8-tied", "qwen3", 28, 8, 1, 0, 1, "dense", 256),
    ("x4", "llama", 8, 8, 8, 4, 0, "experts", 256),
    ("x8", "llama", 16, 8, 2, 8, 0, "experts", 256),
    ("x8-shared", "qwen2moe", 12, 8, 8, 8, 0, "shared", 256),
    ("x16", "qwen3moe", 12, 8, 2, 16, 0, "experts", 256),
    ("70b", "llama", 80, 8, 1, 0, 0, "dense", 256),
    ("80-even", "llama", 80, 8, 8, 0, 0, "dense", 256),
    ("80-qwen2", "qwen2", 80, 8, 8, 0, 0, "dense", 256),
    ("fused", "phi3", 24, 8, 8, 0, 0, "fused", 256),
    ("falcon", "falcon", 20, 8, 1, 0, 0, "falcon", 256),
    ("rows-288", "llama", 8, 8, 2, 0, 0, "dense", 288),
    ("rows-288-tied", "llama", 8, 8, 2, 8, 1, "experts", 288),
    ("rows-304-down", "llama", 8, 8, 2, 0, 0, "dense", 256),
]
ATTENTION = ["attn_k", "attn_output", "attn_q", "attn_v"]
KINDS = {
    "dense": ATTENTION + ["ffn_down", "ffn_gate", "ffn_up"],
    "experts": ATTENTION + ["ffn_down_exps", "ffn_gate_exps", "ffn_up_exps"],
    "shared": ATTENTION + ["ffn_down_exps", "ffn_down_shexp", "ffn_gate_exps", "ffn_gate_shexp",
                           "ffn_up_exps", "ffn_up_shexp"],
    "fused": ["attn_output", "attn_qkv", "ffn_down", "ffn_up"],
    "falcon": ["attn_output", "attn_qkv", "ffn_down", "ffn_up"],
}
TYPES = """Q1_0 Q2_0 Q4_0 Q4_1 MXFP4_MOE Q5_0 Q5_1 IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ1_S IQ1_M TQ1_0 TQ2_0
Q2_K Q2_K_S IQ3_XXS IQ3_S IQ3_M IQ3_XS Q3_K_S Q3_K_M Q3_K_L IQ4_NL IQ4_XS Q4_K_S Q4_K_M Q5_K_S
Q5_K_M Q6_K Q8_0 F16 BF16 F32""".split()
LETTERS = {"f32": "S", "f16": "H", "bf16": "B", "q4_0": "0", "q4_1": "1", "q5_0": "4", "q5_1": "5",
           "q8_0": "8", "q2_K": "b", "q3_K": "c", "q4_K": "d", "q5_K": "e", "q6_K": "f",
           "iq4_nl": "n", "iq4_xs": "x", "iq2_xxs": "i", "iq2_xs": "j", "iq2_s": "k",
           "iq3_xxs": "l", "iq3_s": "m", "iq1_s": "o", "iq1_m": "p", "tq1_0": "t", "tq2_0": "u",
           "mxfp4": "v", "q1_0": "w", "q2_0": "y"}


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def u32(key, value):
    return text(key) + struct.pack("<II", 4, value)


def tensors(model):
    _, _, n_layers, _, _, n_experts, tied, kind, row = model
    names = [] if tied else [("output.weight", [row, 8])]
    names.append(("token_embd.weight", [row, 8]))
    for layer in range(n_layers):
        for part in KINDS[kind]:
            n = 304 if part == "ffn_down" and model[0] == "rows-304-down" else row
            ne = [n, 4] + ([n_experts] if part.endswith("exps") else [])
            names.append((f"blk.{layer}.{part}.weight", ne))
    return names


def write_model(model, path):
    _, arch, n_layers, heads, heads_kv, n_experts, _, _, row = model
    keys = [text("general.architecture") + struct.pack("<I", 8) + text(arch),
            u32(f"{arch}.block_count", n_layers), u32(f"{arch}.context_length", 512),
            u32(f"{arch}.embedding_length", row), u32(f"{arch}.feed_forward_length", row),
            u32(f"{arch}.attention.head_count", heads),
            u32(f"{arch}.attention.head_count_kv", heads_kv)]
    for name in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
        keys.append(text(f"{arch}.{name}") + struct.pack("<If", 6, 1e-6))
    if n_experts:
        keys += [u32(f"{arch}.expert_count", n_experts), u32(f"{arch}.expert_used_count", 2)]
    keys.append(u32(f"{arch}.rope.dimension_count", row // heads))
    keys.append(text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("no_vocab"))
    keys.append(u32(f"{arch}.vocab_size", 8))
    infos, offset = b"", 0
    for name, ne in tensors(model):
        infos += text(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}Q", *ne)
        infos += struct.pack("<IQ", 0, offset)
        n = 4
        for x in ne:
            n *= x
        offset += (n + 31) // 32 * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors(model)), len(keys)) + b"".join(keys) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        f.truncate(f.tell() + offset)


def choices(program, path, file_type, imatrix):
    args = [program] + (["--imatrix", imatrix] if imatrix else [])
    out = subprocess.run(args + ["--dry-run", path, file_type], capture_output=True, text=True)
    if out.returncode:
        return None
    rows = re.findall(r"^\[ *\d+/ *\d+\] (\S+) +- .*?type = +(\S+), size = .*?(?:\((\w+)\))?$",
                      out.stdout + out.stderr, re.M)
    return [(name, to or of) for name, of, to in rows]


def fold(rows):
    """One group of letters a layer; equal groups that follow each other as N*group."""
    if rows is None:
        return "refused"
    groups = []
    last = None
    for name, kind in rows:
        m = re.match(r"blk\.(\d+)\.", name)
        key = m.group(1) if m else "-"
        if key != last:
            groups.append("")
        last = key
        groups[-1] += LETTERS[kind]
    folded = []
    for g in groups:
        if folded and folded[-1][1] == g:
            folded[-1][0] += 1
        else:
            folded.append([1, g])
    return " ".join(g if n == 1 else f"{n}*{g}" for n, g in folded)


def main():
    program, imatrix = sys.argv[1:]
    print("# Types chosen by llama-quantize --dry-run, recorded by quantize_mixes.py.")
    print("# letters: " + " ".join(f"{v}={k}" for k, v in LETTERS.items()))
    print("# model: name architecture layers heads heads_kv experts tied row parts...")
    print("# type: name, without and with (+) importance or both (=), a group of letters a layer")
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            path = os.path.join(folder, model[0] + ".gguf")
            write_model(model, path)
            print("model", *model[:7], model[8], *KINDS[model[7]])
            for file_type in TYPES:
                plain = fold(choices(program, path, file_type, None))
                matrix = fold(choices(program, path, file_type, imatrix))
                if plain == matrix:
                    print(f"{file_type} = {plain}")
                else:
                    print(f"{file_type} - {plain}\n{file_type} + {matrix}")
            sys.stdout.flush()


main()
