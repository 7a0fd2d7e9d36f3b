#!/usr/bin/env bash
# quantize: every option, by what is in the file it makes.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

# key FILE KEY: its value
key() {
    gguf show --json - "$1" | awk -v wanted="      \"key\": \"$2\"," '$0 == wanted { inside = 1 }
        inside && /^ *"value": / { sub(/^ *"value": */, ""); print; exit }'
}

# a model with an output matrix of its own, an expert tensor, a layer count, odd rows and integers
python3 - <<'P'
import random, struct
random.seed(1)
def text(s): return struct.pack("<Q", len(s)) + s.encode()
def u32(k, v): return text(k) + struct.pack("<II", 4, v)
def arr(k, kind, v): return text(k) + struct.pack("<IIQ", 9, kind, len(v)) + struct.pack(f"<{len(v)}I", *v)
def write(path, tensors, extra=(), align=32):
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama"),
            u32("llama.block_count", 4), u32("llama.context_length", 64),
            u32("llama.embedding_length", 256), u32("llama.feed_forward_length", 256),
            u32("llama.attention.head_count", 4), arr("llama.attention.head_count_kv", 4, [1, 2, 4, 2]),
            u32("llama.leading_dense_block_count", 2), u32("general.alignment", align), *extra]
    infos = data = b""
    for name, kind, ne, values in tensors:
        infos += text(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}Q", *ne)
        infos += struct.pack("<IQ", kind, len(data))
        data += values + bytes(-len(values) % align)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    open(path, "wb").write(head + bytes(-len(head) % align) + data)
def f32(name, *ne, scale=0.1):
    n = 1
    for x in ne: n *= x
    return name, 0, ne, struct.pack(f"<{n}f", *(random.gauss(0, scale) for _ in range(n)))
tensors = [f32("output.weight", 256, 8), f32("token_embd.weight", 256, 8),
           f32("output_norm.weight", 256),
           ("ids.weight", 26, (4, 3), struct.pack("<12i", *range(12)))]
for i in range(4):
    tensors += [f32(f"blk.{i}.attn_v.weight", 256, 4), f32(f"blk.{i}.attn_norm.weight", 256),
                f32(f"blk.{i}.ffn_up_exps.weight", 256, 4, 2), f32(f"blk.{i}.ffn_down.weight", 96, 4)]
write("m.gguf", tensors)
write("aligned.gguf", tensors, align=128)
write("four.gguf", [f32("blk.0.a.weight", 32, 2, 3, 2), f32("blk.0.b.weight", 32, 2)])
odd = [f32("blk.0.attn_v.weight", 33, 4), f32("blk.0.ffn_up.weight", 48, 4)]
write("odd.gguf", odd)
write("retired.gguf", [("output.weight", 4, (256, 8), bytes(4096))])
mx = [("blk.0.ffn_up_exps.weight", 39, (32, 4, 2), (bytes([120]) + bytes(range(16))) * 8),
      ("blk.0.ffn_down_exps.weight", 39, (32, 4, 2), (bytes([121]) + bytes(range(16))) * 8),
      f32("blk.0.attn_v.weight", 256, 4)]
write("mx.gguf", mx)
tiny = [f32("blk.0.attn_v.weight", 32, 4, scale=1e-12), f32("blk.0.attn_k.weight", 32, 4)]
write("tiny.gguf", tiny)
P

# one type for all, and the mix beside it
make --pure m.gguf o.gguf Q4_K_M
[ "$(types o.gguf | grep -c ' q4_K$')" = 10 ] || fail "--pure: $(types o.gguf)"
has o.gguf output.weight q4_K
make m.gguf o.gguf Q4_K_M
has o.gguf output.weight q6_K
has o.gguf blk.3.attn_v.weight q6_K
has o.gguf blk.0.attn_norm.weight f32

# rows that do not divide: said for each tensor, summed up at the end
quantize m.gguf o.gguf Q4_K_S 2>log.txt || fail "fallbacks"
has o.gguf blk.0.ffn_down.weight q5_0
[ "$(grep -c 'ffn_down.weight .*instead of q4_K: rows do not divide' log.txt)" = 4 ] || fail "per tensor"
grep -q '^warning: 4 of 20 tensors took another type.*(4 q4_K as q5_0)' log.txt || fail "$(tail -3 log.txt)"
# no type fits: the file's fault; a type asked for that does not fit: the command's
expect 3 "tensor 'blk.0.attn_v.weight': rows of 33 do not divide" quantize -q odd.gguf o.gguf Q4_0
expect 2 "blk.0.attn_v.weight.*rows of 33" quantize -q --tensor-type attn_v=q8_0 odd.gguf o.gguf F16
make --tensor-type attn_v=q4_K --tensor-type ffn_up=q4_K odd.gguf o.gguf F32
has o.gguf blk.0.attn_v.weight f16

# the tensors with options of their own
make --leave-output-tensor m.gguf o.gguf Q4_K_M
has o.gguf output.weight f32
expect 3 "output.weight.*retired" quantize -q --leave-output-tensor retired.gguf o.gguf Q8_0
make --output-tensor-type Q8_0 --token-embedding-type bf16 m.gguf o.gguf Q4_K_M
has o.gguf output.weight q8_0
has o.gguf token_embd.weight bf16
make --output-tensor-type q8_0 m.gguf o.gguf F16
has o.gguf output.weight q8_0
has o.gguf blk.0.attn_v.weight f16
expect 2 "leave-output-tensor changes nothing" quantize -q --leave-output-tensor aligned.gguf o.gguf COPY

# rules: the first that matches wins, on the command line and in files, with f16 too
printf '# attention first\n  ATTN_V=q8_0\tffn_up=Q5_K\n\nblk\\.[01]\\.ffn_down=q8_0\n' >rules.txt
make --tensor-type-file rules.txt m.gguf o.gguf Q4_K_M
has o.gguf blk.2.attn_v.weight q8_0
has o.gguf blk.2.ffn_up_exps.weight q5_K
has o.gguf blk.1.ffn_down.weight q8_0
make --tensor-type 'blk.2.=f16' --tensor-type-file rules.txt m.gguf o.gguf Q4_K_M
has o.gguf blk.2.attn_v.weight f16
has o.gguf blk.1.attn_v.weight q8_0
make --tensor-type-file rules.txt --tensor-type 'blk.2.=f16' m.gguf p.gguf Q4_K_M
has p.gguf blk.2.attn_v.weight q8_0
has p.gguf blk.2.ffn_down.weight f16
make --tensor-type attn_v=q8_0 m.gguf o.gguf F16
has o.gguf blk.2.attn_v.weight q8_0
printf 'attn_v=q8_0\nffn_dwn=q8_0\n' >wrong.txt
expect 2 "wrong.txt:2: 'ffn_dwn=q8_0' matches no tensor.*nearest name is 'blk.0.ffn_down.weight'" \
    quantize -q --tensor-type-file wrong.txt m.gguf o.gguf Q4_K_M
printf 'attn_v=q8_0\nffn_up q8_0\n' >wrong.txt
expect 3 "wrong.txt:2: 'ffn_up': write REGEX=TYPE" \
    quantize -q --tensor-type-file wrong.txt m.gguf o.gguf Q4_K_M
expect 3 "none.txt" quantize -q --tensor-type-file none.txt m.gguf o.gguf Q4_K_M
: >empty.txt
expect 3 "empty.txt: holds no rule" quantize -q --tensor-type-file empty.txt m.gguf o.gguf Q4_K_M
expect 2 "shadowed" quantize -q --tensor-type attn=q8_0 --tensor-type attn_v=q5_K m.gguf o.gguf Q4_K_S
quantize -q --lax --tensor-type attn=q8_0 --tensor-type attn_v=q5_K m.gguf o.gguf Q4_K_S 2>log.txt ||
    fail "--lax"
grep -q '^warning: .*shadowed' log.txt || fail "--lax is silent"
has o.gguf blk.0.attn_v.weight q8_0

# layers left out: the rest is numbered anew, in names and in keys
make --prune-layers 0,2 m.gguf o.gguf Q8_0
[ "$(types o.gguf | grep -o '^blk\.[0-9]*' | sort -u | tr '\n' ' ')" = "blk.0 blk.1 " ] || fail "layers"
[ "$(key o.gguf llama.block_count)" = 2 ] || fail "block_count"
[ "$(key o.gguf llama.leading_dense_block_count)" = 1 ] || fail "leading_dense_block_count"
gguf show o.gguf | grep 'head_count_kv .*\[2, 2\]$' >/dev/null || fail "head_count_kv"
make m.gguf all.gguf Q8_0
gguf show --json - o.gguf >/dev/null || fail "does not open"
expect 2 "no layer 9, m.gguf has 4" quantize -q --prune-layers 1,9 m.gguf o.gguf Q8_0
expect 2 "no layer of m.gguf would be left" quantize -q --prune-layers 0,1,2,3 m.gguf o.gguf Q8_0
expect 2 "prune-layers" quantize -q --prune-layers 1,,2 m.gguf o.gguf Q8_0

# keys
long=$(printf 'x%.0s' $(seq 300))
make --override-kv general.name=str:"$long" --override-kv llama.context_length=int:99 \
    --override-kv llama.rope.freq_base=float:2.5 \
    --override-kv tokenizer.ggml.add_bos_token=bool:true m.gguf o.gguf Q8_0
[ "$(key o.gguf general.name)" = "\"$long\"" ] || fail "a long string"
[ "$(key o.gguf llama.context_length)" = 99 ] || fail "int"
[ "$(key o.gguf llama.rope.freq_base)" = 2.5 ] || fail "float"
[ "$(key o.gguf tokenizer.ggml.add_bos_token)" = true ] || fail "bool"
make --override-kv llama.expert_count=int:8 m.gguf o.gguf Q4_K_S # eight experts: values as q8_0
has o.gguf blk.0.attn_v.weight q8_0
expect 2 "did you mean 'llama.block_count'" \
    quantize -q --override-kv llama.block_cuont=int:3 m.gguf o.gguf Q8_0
make --lax --override-kv my.note=str:hello m.gguf o.gguf Q8_0
[ "$(key o.gguf my.note)" = '"hello"' ] || fail "--lax key"
expect 2 "llama.context_length.*does not fit in u32" \
    quantize -q --override-kv llama.context_length=int:-1 m.gguf o.gguf Q8_0
expect 2 "could not be opened.*block_count" \
    quantize -q --override-kv llama.block_count=int:0 m.gguf o.gguf Q8_0

# several files: by size, by number, as the source is; what they hold is what one file holds
make m.gguf one.gguf Q8_0
types one.gguf >one.txt
make --shard-tensors 7 m.gguf by.gguf Q8_0
[ "$(echo by-*.gguf)" = "by-00001-of-00003.gguf by-00002-of-00003.gguf by-00003-of-00003.gguf" ] || fail "$(ls)"
types by-00001-of-00003.gguf | cmp - one.txt || fail "--shard-tensors"
bytes=$(cat by-*.gguf | wc -c)
quantize --dry-run --shard-tensors 7 m.gguf Q8_0 | grep -q "the file: $bytes bytes" || fail "dry run of shards"
make --shard-size 4K m.gguf size.gguf Q8_0
types "$(ls size-00001-of-*.gguf)" | cmp - one.txt || fail "--shard-size"
make --keep-split --prune-layers 3 by-00001-of-00003.gguf keep.gguf COPY
[ "$(ls keep-*-of-00003.gguf | wc -l)" = 3 ] || fail "--keep-split"
[ "$(types keep-00001-of-00003.gguf | wc -l)" = 16 ] || fail "--keep-split: tensors"
make by-00001-of-00003.gguf joined.gguf COPY
types joined.gguf | cmp - one.txt || fail "joined"
quantize -q --shard-tensors 5 m.gguf by.gguf Q8_0 2>log.txt || fail "another count"
grep -q "warning: .*by-0000[123]-of-00003.gguf belongs to another set" log.txt || fail "other set: $(cat log.txt)"
expect 2 "by-00001-of-00003.gguf" quantize -q --keep-split by-00001-of-00003.gguf by.gguf Q8_0 --lax
ln by-00002-of-00003.gguf hard-00002-of-00003.gguf
expect 2 "hard-00002-of-00003.gguf" quantize -q --keep-split by-00001-of-00003.gguf hard.gguf COPY
expect 2 "do not go together" quantize -q --keep-split --shard-size 1M by-00001-of-00003.gguf x.gguf COPY

# an output that is an input: the rules, the matrix, by a link
cp rules.txt as-rules.gguf
expect 2 "as-rules.gguf" quantize -q --tensor-type-file as-rules.gguf m.gguf as-rules.gguf Q4_K_M
ln -s "$PWD/m.gguf" soft.gguf
expect 2 "soft.gguf" quantize -q m.gguf soft.gguf Q8_0
ln m.gguf hard.gguf
expect 2 "hard.gguf" quantize -q m.gguf hard.gguf Q8_0

# the alignment that the source states
make aligned.gguf o.gguf Q4_K_M
[ "$(key o.gguf general.alignment)" = 128 ] || fail "alignment"
types o.gguf >o.txt
make m.gguf p.gguf Q4_K_M
types p.gguf | cmp - o.txt || fail "aligned: other types"
gguf check o.gguf >/dev/null || fail "aligned: gguf check"
python3 - <<'P' || fail "offsets are not multiples of 128"
import json, subprocess, sys
t = json.loads(subprocess.run(["gguf", "show", "--json", "-", "o.gguf"], capture_output=True).stdout)
sys.exit(any(x["offset"] % 128 for x in t["tensors"]) or t["alignment"] != 128)
P

# blocks that a model was trained in stay; a rule or --allow-requantize says otherwise
quantize mx.gguf o.gguf Q4_K_M 2>log.txt || fail "mxfp4"
has o.gguf blk.0.ffn_up_exps.weight mxfp4
grep -q "2 tensors keep the blocks" log.txt || fail "not said: $(cat log.txt)"
python3 - <<'P' || fail "mxfp4 blocks changed"
import sys
sys.exit((bytes([120]) + bytes(range(16))) * 8 not in open("o.gguf", "rb").read())
P
make --tensor-type ffn_up_exps=q8_0 mx.gguf o.gguf Q4_K_M
has o.gguf blk.0.ffn_up_exps.weight q8_0
has o.gguf blk.0.ffn_down_exps.weight mxfp4
make --allow-requantize mx.gguf o.gguf Q4_0
has o.gguf blk.0.ffn_down_exps.weight q4_0

# integers are copied, with a note; four dimensions
quantize m.gguf o.gguf Q8_0 2>log.txt
has o.gguf ids.weight i32
grep -q 'ids.weight .*integers are never quantized' log.txt || fail "integers"
make four.gguf o.gguf Q4_0
has o.gguf blk.0.a.weight q4_0

# importance: entries chosen by name
model_small=$TAMIS_SOURCE/testdata/tiny-qwen3.gguf
imatrix -q -m "$model_small" -f "$calibration" -c 256 --chunks 2 -o im.gguf >/dev/null || fail imatrix
used() { # tensors encoded with importance
    quantize --json - -q --imatrix im.gguf "$@" "$model_small" o.gguf Q4_K_M |
        python3 -c 'import json, sys
print(*sorted({t["name"].split(".")[-2] for t in json.load(sys.stdin)["tensors"] if t["importance"]}))'
}
[ "$(used --include-weights ffn_ --include-weights attn_v 2>/dev/null)" = "attn_v ffn_down ffn_gate ffn_up" ] ||
    fail "--include-weights: $(used --include-weights ffn_)"
[ "$(used --exclude-weights attn_ 2>/dev/null)" = "ffn_down ffn_gate ffn_up" ] || fail "--exclude-weights"
expect 2 "exclude-weights 'atn_v' is in the name of no entry.*nearest is 'blk.0.attn_v.weight'" \
    quantize -q --imatrix im.gguf --exclude-weights atn_v "$model_small" o.gguf Q4_K_M
expect 3 "Q2_K_S needs importance data, and there is none for it after" \
    quantize -q --imatrix im.gguf --exclude-weights attn_q "$model_small" o.gguf Q2_K_S

# a block that predicts further tokens: its own importance, or none; never a refusal, but said and
# recorded
gguf set -q --force -o further.gguf "$model_small" qwen3.nextn_predict_layers=u32:1 >/dev/null ||
    fail "gguf set"
importance_of() { # whether the tensors of block 5 are encoded with importance
    quantize --json o.json -q --imatrix im.gguf "$@" further.gguf o.gguf IQ2_XS 2>log.txt &&
        python3 -c 'import json
tensors = json.load(open("o.json"))["tensors"]
print(*(t["name"][6:-7] + "=" + str(t["importance"])
        for t in tensors if t["name"].startswith("blk.5.") and t["type"] != "f32"))'
}
own="attn_k=True attn_output=True attn_q=True attn_v=True ffn_down=True ffn_gate=True ffn_up=True"
[ "$(importance_of)" = "$own" ] || fail "further block: $(importance_of)"
[ ! -s log.txt ] || fail "further block: $(cat log.txt)"
gguf show --no-tensors o.gguf | grep -q lacking && fail "lacking recorded where nothing is"
[ "$(importance_of --exclude-weights blk.5.)" = "${own//True/False}" ] ||
    fail "further block without data: $(importance_of --exclude-weights blk.5.; cat log.txt)"
grep -q "no data for 7 tensors of the blocks that predict further tokens, quantized without: blk.5" \
    log.txt || fail "a further block without data is not said: $(cat log.txt)"
[ "$(gguf show --key tamis.imatrix.lacking o.gguf | grep -c '^blk\.5\.')" = 7 ] ||
    fail "a further block without data is not recorded"
expect 3 "blk.4.attn_k.weight' as .* needs importance data, and there is none" \
    quantize -q --imatrix im.gguf --exclude-weights blk.4. further.gguf o.gguf IQ2_XS

# layers left out: each keeps the importance of its old number
data() { # the bytes behind the header
    tail -c "+$(($(gguf show --json - "$1" | sed -n 's/^  "data_offset": \([0-9]*\),/\1/p') + 1))" "$1"
}
make --pure --imatrix im.gguf "$model_small" o.gguf Q4_K_S
make --prune-layers 0,3 o.gguf p.gguf COPY
make --pure --prune-layers 0,3 --imatrix im.gguf "$model_small" o.gguf Q4_K_S
[ "$(data p.gguf | cksum)" = "$(data o.gguf | cksum)" ] || fail "importance of renumbered layers"
make --pure --prune-layers 0,3 "$model_small" o.gguf Q4_K_S
[ "$(data p.gguf | cksum)" != "$(data o.gguf | cksum)" ] || fail "importance changes nothing"

# the self-check: ten tensors with their errors, in the JSON all; weights that vanish are an error
quantize --json run.json m.gguf o.gguf Q4_0 2>log.txt || fail "self-check"
[ "$(grep -A99 'largest relative errors' log.txt | grep -cE ' q4_0 +0\.[0-9]+$')" -ge 9 ] || fail "$(cat log.txt)"
python3 - <<'P' || fail "errors in the JSON"
import json, sys
r = json.load(open("run.json"))
worst = [t["relative_error"] for t in r["largest_errors"]]
q = [t["relative_error"] for t in r["tensors"] if t["type"] == "q4_0"]
ok = r["self_check"] and len(worst) == 10 and worst == sorted(worst, reverse=True)
ok = ok and worst[0] == max(q) and all(0.05 < e < 0.2 for e in q)
sys.exit(not (ok and all(t["relative_error"] == 0 for t in r["tensors"] if t["type"] == "f32")))
P
echo old >o.gguf
expect 1 "blk.0.attn_v.weight.*is all zero and its source is not" quantize -q tiny.gguf o.gguf F16
[ "$(cat o.gguf)" = old ] || fail "the old file is gone"
make --no-self-check tiny.gguf o.gguf F16
quantize --no-self-check --json run.json m.gguf o.gguf Q4_0 2>log.txt
! grep -q "relative error" log.txt run.json || fail "--no-self-check checks"
no_temporaries .

# --effort: the error printed for every tensor does not rise, the options say which it was
sum_of_errors() {
    awk -F: '/"relative_error"/ { sum += $2 } END { printf "%.9f\n", sum }' "$1"
}
for effort in fast normal best; do
    make --effort $effort --json $effort.json m.gguf $effort.gguf Q4_0
done
make m.gguf o.gguf Q4_0
cmp -s normal.gguf o.gguf || fail "normal is not the default effort"
[ "$(key best.gguf tamis.options)" = '"Q4_0 --effort best"' ] || fail "options of --effort best"
awk -v a="$(sum_of_errors fast.json)" -v b="$(sum_of_errors best.json)" 'BEGIN { exit !(b > 0 && b <= a) }' ||
    fail "errors of fast and best: $(sum_of_errors fast.json) $(sum_of_errors best.json)"
expect 2 "--effort: 'more' is not one of: fast, normal, best" quantize --effort more m.gguf o.gguf Q4_0

# the parent's hash, whatever part of it is used and in what order
sha256=$(sha256sum <m.gguf | cut -d' ' -f1)
for options in "" "--prune-layers 1,2" "--tensor-type attn_v=nvfp4"; do
    # shellcheck disable=SC2086
    make --sha256 $options m.gguf o.gguf Q4_0
    [ "$(key o.gguf tamis.parent.sha256)" = "\"$sha256\"" ] || fail "parent's hash with '$options'"
done
[ -z "$(key o.gguf tamis.parent.xxh3_128)" ] || fail "both hashes of the parent"
make --allow-requantize o.gguf p.gguf Q4_0
[ -z "$(key p.gguf tamis.parent.sha256)" ] || fail "the hash of the parent's parent"
[ -n "$(key p.gguf tamis.parent.xxh3_128)" ] || fail "no hash of the parent"
