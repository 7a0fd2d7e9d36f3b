#!/usr/bin/env bash
# quantize --protect: what it keeps, lifts, says and records, on a made-up hybrid model with experts.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

python3 - "$TAMIS_SOURCE/tests" <<'P'
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
from make_gguf import write, u32, f32, bf16
keys = [u32("qwen35moe.block_count", 2), u32("qwen35moe.attention.head_count", 4),
        u32("qwen35moe.expert_count", 4)]
tensors = [bf16("token_embd.weight", 256, 8), bf16("output.weight", 256, 8),
           bf16("blk.0.attn_qkv.weight", 256, 16), bf16("blk.0.ssm_alpha.weight", 256, 4),
           bf16("blk.0.ssm_beta.weight", 256, 4), f32("blk.0.ssm_a", 4), f32("blk.0.ssm_dt.bias", 4),
           f32("blk.0.ssm_conv1d.weight", 4, 16), bf16("blk.0.ssm_out.weight", 256, 64),
           bf16("blk.1.attn_v.weight", 256, 16), bf16("blk.1.attn_output.weight", 256, 64),
           bf16("blk.1.ffn_up_exps.weight", 256, 8, 4), f32("blk.1.ffn_gate_inp.weight", 256, 4)]
write("m.gguf", "qwen35moe", tensors, keys)
write("dense.gguf", "llama", [bf16("blk.0.attn_v.weight", 256, 8)], [u32("llama.block_count", 1)])
P

# what stays, what is lifted, and that the rest is what the mix alone makes
make m.gguf plain.gguf Q2_K
make --protect m.gguf safe.gguf Q2_K
has plain.gguf blk.0.ssm_alpha.weight q2_K
has safe.gguf blk.0.ssm_alpha.weight bf16
has safe.gguf blk.0.ssm_beta.weight bf16
has plain.gguf blk.0.ssm_out.weight q2_K
has safe.gguf blk.0.ssm_out.weight q4_K
has plain.gguf blk.1.attn_output.weight q3_K
has safe.gguf blk.1.attn_output.weight q5_K
for file in plain safe; do
    types $file.gguf | grep -v 'ssm_alpha\|ssm_beta\|ssm_out\|attn_output' >$file.txt
done
cmp plain.txt safe.txt || fail "other tensors have another type"
[ "$(wc -l <safe.txt)" = 9 ] || fail "$(cat safe.txt)"

# on top of --pure and of a mix without rules
make --protect --pure m.gguf o.gguf Q4_K_S
has o.gguf blk.1.attn_v.weight q4_K
has o.gguf blk.1.attn_output.weight q6_K
make --protect m.gguf o.gguf IQ4_XS
has o.gguf blk.0.ssm_out.weight q6_K
make --protect m.gguf o.gguf Q8_0
has o.gguf blk.0.ssm_alpha.weight bf16
has o.gguf blk.0.ssm_out.weight q8_0

# what it costs is said beforehand, with the tensors, and is exact; not with -q
bytes() { # of the tensors of a file
    gguf show --json - "$1" |
        python3 -c 'import json, sys; print(sum(t["size"] for t in json.load(sys.stdin)["tensors"]))'
}
more=$(($(bytes safe.gguf) - $(bytes plain.gguf)))
note="note: at risk are 1 ssm_alpha, 1 ssm_beta, 1 ssm_out, 1 attn_output; --protect looks after them for"
quantize --dry-run --json plain.json m.gguf Q2_K >plan.txt 2>note.txt || fail "dry run"
grep -q "^$note 1[0-9.]* kB more" note.txt || fail "the note: $(cat note.txt)"
[ "$(grep -c "at risk" note.txt)" = 1 ] || fail "the note is not said once"
grep -q '"bytes": '"$more"',' plain.json || fail "not $more bytes: $(grep -A4 protection plain.json)"
quantize -q --dry-run m.gguf Q2_K >/dev/null 2>note.txt || fail "dry run"
[ ! -s note.txt ] || fail "-q says $(cat note.txt)"
quantize --dry-run m.gguf F16 >/dev/null 2>note.txt || fail "dry run"
! grep -q "at risk" note.txt || fail "F16 puts nothing at risk"

# with it: every tensor says so, and the plan
quantize --dry-run --protect --json safe.json m.gguf Q2_K >plan.txt 2>note.txt || fail "dry run"
[ "$(grep -c 'protected, q[23]_K by the mix$' plan.txt)" = 4 ] || fail "$(cat plan.txt)"
grep -q "^protected: 1 ssm_alpha, 1 ssm_beta, 1 ssm_out, 1 attn_output, for" note.txt || fail "$(cat note.txt)"
python3 - "$more" <<'P' || fail "JSON: $(grep -A40 '"protection"' safe.json)"
import json, sys
for name, on in (("plain", False), ("safe", True)):
    r = json.load(open(name + ".json"))
    p = r["protection"]
    lifted = {k["name"]: k["lifted"] for k in p["kinds"]}
    assert p["on"] == on and p["tensors"] == 4 and p["bytes"] == int(sys.argv[1])
    assert lifted == {"ssm_alpha": False, "ssm_beta": False, "ssm_out": True, "attn_output": True}
    assert all(k["reason"] for k in p["kinds"])
    was = {t["name"]: t["protected_from"] for t in r["tensors"] if "protected_from" in t}
    assert len(was) == (4 if on else 0) and (not on or was["blk.0.ssm_out.weight"] == "q2_K")
P
python3 -c 'import json; a, b = (json.load(open(n))["result_bytes"] for n in ("plain.json", "safe.json"))
print(b - a)' | grep -qx "$more" || fail "the sizes do not differ by what is said"

# a rule wins, and that is said; one that gives what protection gives changes nothing
quantize --protect --tensor-type ssm_alpha=q8_0 --tensor-type attn_output=q8_0 m.gguf o.gguf Q2_K 2>log.txt ||
    fail "rules"
has o.gguf blk.0.ssm_alpha.weight q8_0
has o.gguf blk.1.attn_output.weight q8_0
has o.gguf blk.0.ssm_beta.weight bf16
grep -q "^--protect: rules decide about 1 tensor .*'blk.0.ssm_alpha.weight'" log.txt || fail "$(cat log.txt)"
expect 2 "changes nothing: 'blk.0.ssm_out.weight' is q4_K without it" \
    quantize -q --protect --tensor-type ssm_out=q4_K m.gguf o.gguf Q2_K

# nothing to do is said, and no error
quantize --protect dense.gguf o.gguf Q4_K_M 2>log.txt || fail "nothing to protect"
grep -q "^--protect changes nothing here" log.txt || fail "$(cat log.txt)"
make --protect m.gguf o.gguf COPY

# recorded, and not inherited by what is made of the result
gguf show --key tamis.protected safe.gguf | tr '\n' ' ' |
    grep -x "ssm_alpha ssm_beta ssm_out attn_output " >/dev/null || fail "tamis.protected"
[ "$(gguf show --key tamis.options safe.gguf)" = "Q2_K --protect" ] || fail "tamis.options"
make --allow-requantize safe.gguf o.gguf Q2_K
expect 2 "tamis.protected" gguf show --key tamis.protected o.gguf
# a parent that has less than the ladder gives is not blown up
make --allow-requantize --protect safe.gguf o.gguf Q2_K
has o.gguf blk.0.ssm_out.weight q4_K
has o.gguf blk.1.attn_output.weight q5_K
echo "protected for $more bytes"
