#!/usr/bin/env bash
# What kld prints beside the main blocks: perplexities alone, running statistics, the worst
# positions, the table; each in --json, too.
. "$(dirname "$0")/lib.sh"
im=${TAMIS_SHARED:-}/fixtures/imatrix
[ -d "$im" ] || skip "no reference fixtures at ${TAMIS_SHARED:-}"
text=$im/eval.txt
k() { kld --quiet "$@"; }

# --ppl against what the peer printed, chunk by chunk, for BPE and for SPM with BOS.
for row in "wide 128 24" "idle-expert 128 20" "odd 96 30"; do
    read -r name ctx chunks <<<"$row"
    k --ppl -m "$im/$name.gguf" -f "$text" -c "$ctx" --chunks "$chunks" >"$work/ppl" || fail "--ppl"
    python3 - "$work/ppl" "$im/$name.base.ppl" <<'P' || fail "--ppl of $name differs from the peer"
import re, sys
def read(path):
    text = open(path, encoding="utf-8").read()
    final = re.search(r"^Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)$", text, re.M)
    return [float(x) for x in re.findall(r"\[\d+\]([0-9.]+),", text)] + [float(x) for x in final.groups()]
ours, peers = (read(p) for p in sys.argv[1:])
assert len(ours) == len(peers) > 20
assert all(abs(a - b) <= 2e-6 * b + 1e-4 for a, b in zip(ours, peers)), (ours, peers)
P
done

# Two models, both styles, JSON, the table.
args="-m $im/wide.gguf -q $im/wide.Q4_0.gguf -f $text -c 128"
k --ppl $args --json "$work/ppl.json" >"$work/0" || fail "two models"
k --ppl-output-type 1 $args >"$work/1" || fail "--ppl-output-type 1"
k --ppl --summary $args >"$work/2" || fail "--ppl --summary"
k --ppl $args --json - -t 1 | cmp - "$work/ppl.json" || fail "--json -, one thread"
python3 - "$work"/{ppl.json,0,1,2} <<'P' || fail "styles of --ppl"
import json, re, sys
data = json.load(open(sys.argv[1]))
zero, one, table = (open(p, encoding="utf-8").read() for p in sys.argv[2:])
runs = re.findall(r"^\[1\].*$", zero, re.M)
blocks = re.split(r"^Final.*$", one, flags=re.M)
assert len(data["models"]) == len(runs) == 2
for model, run, block in zip(data["models"], runs, blocks):
    chunks = model["chunks"]
    assert [c["chunk"] for c in chunks] == list(range(1, 25)) and model["n_positions"] == 24 * 63
    assert ["%.4f" % c["ppl"]["value"] for c in chunks] == re.findall(r"\](.*?),", run)
    rows = [l.split() for l in block.splitlines() if re.match(r" +\d", l)]
    assert [int(r[0]) for r in rows] == [c["token"] for c in chunks] == [128 * i for i in range(24)]
    assert [r[1] for r in rows] == ["%.4f" % c["ppl"]["value"] for c in chunks]
    assert rows[-1][2] == "%f" % model["mean_nll"]["value"]
    assert chunks[-1]["ppl"] == model["ppl"]
assert len(table.splitlines()) == 3 and zero.endswith(table), table
P

# --ppl-stride: windows by hand from --tokens: the last tokens of each, with the rest as context.
ids=$TAMIS_SHARED/fixtures/arch/qwen3.tokens # 96 ids
qwen=$TAMIS_SHARED/fixtures/arch/qwen3.gguf
k --ppl-stride 16 -c 48 -m "$qwen" --tokens "$ids" --json "$work/stride.json" >"$work/s" || fail "--ppl-stride"
for i in 0 1 2 3; do
    tail -c +$((i * 64 + 1)) "$ids" | head -c 192 >"$work/window"
    k -m "$qwen" --tokens "$work/window" --dump-logits "$work/logits.$i" || fail "window $i"
done
python3 - "$work/stride.json" "$ids" "$work"/logits.? <<'P' || fail "--ppl-stride"
import array, json, math, sys
m = json.load(open(sys.argv[1]))
model = m["models"][0]
ids = array.array("i", open(sys.argv[2], "rb").read())
assert m["stride"] == 16 and model["n_chunks"] == 4 and model["n_positions"] == 64
nll = 0
for w, path in enumerate(sys.argv[3:]):
    x = array.array("f", open(path, "rb").read())
    n = len(x) // 48
    for i in range(48 - 16, 48):
        row = x[(i - 1) * n:i * n]
        top = max(row)
        nll += top + math.log(sum(math.exp(v - top) for v in row)) - row[ids[w * 16 + i]]
    assert abs(model["chunks"][w]["ppl"]["value"] / math.exp(nll / (16 * (w + 1))) - 1) < 1e-5
    assert model["chunks"][w]["token"] == 16 * w
P
grep -q "4 windows of 48 tokens, 16 apart, 64 positions" "$work/s" || fail "heading of --ppl-stride"
# the same as chunks where windows do not overlap more than a half
k --ppl-stride 64 -c 128 -m "$im/wide.gguf" -f "$text" --chunks 3 | grep -q "^Final" || fail "stride 64"

# --per-chunk: the peer's table, and the same numbers in JSON; the last line is the whole.
k --base "$im/wide.base" -q "$im/wide.Q4_0.gguf" --per-chunk --json "$work/c.json" >"$work/c" || fail "--per-chunk"
python3 - "$work/c" "$im/wide.Q4_0.kld.txt" "$work/c.json" <<'P' || fail "--per-chunk"
import json, re, sys
def table(path):
    lines = open(path, encoding="utf-8").read().splitlines()
    at = next(i for i, l in enumerate(lines) if l.startswith("chunk "))
    return lines[at:at + 25]
ours, peers = table(sys.argv[1]), table(sys.argv[2])
assert ours[0] == peers[0]
number = re.compile(r"-?\d+\.?\d*")
q = json.load(open(sys.argv[3]))["quants"][0]
for i, (a, b) in enumerate(zip(ours[1:], peers[1:])):
    assert re.sub(r"\d", "0", a) == re.sub(r"\d", "0", b), (a, b)
    a, b = ([float(x) for x in number.findall(l)] for l in (a, b))
    assert all(abs(x - y) <= 1.1e-3 if k > 6 else abs(x - y) <= 2e-5 + 1e-6 * abs(y) + (1e-4 if k < 3 else 0)
               for k, (x, y) in enumerate(zip(a, b))), (a, b)
    c = q["chunks"][i]
    assert a[1] == round(c["ppl"]["value"], 4) and a[10] == round(c["same_top"]["uncertainty"], 3)
last = q["chunks"][-1]
assert last["ppl"] == q["ppl"] and last["ln_ppl_ratio"] == q["ln_ppl_ratio"]
assert last["kld_mean"] == q["kld"]["mean"] and last["dp_rms"] == q["dp"]["rms"] and last["same_top"] == q["same_top"]
P

# --worst: from the parent, from both layouts of base; the exact positions by exact logits.
run="-c 96 --chunks 4 -f $text"
k -m "$im/wide.gguf" -q "$im/wide.Q4_0.gguf" $run --worst 200 --json "$work/w.json" --base "$work/b" >"$work/w" || fail "--worst"
k --base "$work/b" -q "$im/wide.Q4_0.gguf" --worst 200 --json "$work/w2.json" -t 1 --mem 1M >"$work/w2" 2>/dev/null || fail "--worst from a base"
cmp "$work/w.json" "$work/w2.json" && cmp "$work/w" "$work/w2" || fail "--worst: a base changes it"
k -m "$im/wide.gguf" -f "$text" -c 96 --chunks 4 --save-all-logits "$work/l" >/dev/null || fail "saving"
k --base "$work/l" -q "$im/wide.Q4_0.gguf" --worst 5 --json "$work/w3.json" >/dev/null || fail "--worst from a llama base"
for side in wide wide.Q4_0; do
    k -m "$im/$side.gguf" -f "$text" -c 96 --chunks 4 --dump-logits "$work/$side.logits" || fail "logits"
done
python3 - "$work"/{w.json,w,w3.json,wide.logits,wide.Q4_0.logits} "$text" <<'P' || fail "--worst"
import array, json, math, sys
result = json.load(open(sys.argv[1]))
q = result["quants"][0]
worst = q["worst"]
assert len(worst) == 4 * 47 == result["n_positions"] # all there are
order = [(-w["kld"], w["chunk"], w["token"]) for w in worst]
assert order == sorted(order)
assert worst[0]["kld"] == q["kld"]["max"]["value"] and worst[-1]["kld"] == q["kld"]["min"]["value"]
text = open(sys.argv[6], "rb").read().decode()
p_all, q_all = (array.array("f", open(p, "rb").read()) for p in sys.argv[4:6])
n = len(p_all) // (4 * 96)
def softmax(x):
    top = max(x)
    lse = top + math.log(sum(math.exp(v - top) for v in x))
    return [math.exp(v - lse) for v in x]
for w in worst[:6]:
    row = (w["chunk"] - 1) * 96 + w["token"] - 1
    p, r = (softmax(x[row * n:(row + 1) * n]) for x in (p_all, q_all))
    assert abs(sum(a * math.log(a / b) for a, b in zip(p, r)) - w["kld"]) < 1e-5
    for side, x in (("parent", p), ("quant", r)):
        top = sorted(range(n), key=lambda i: (-x[i], i))[:5]
        assert [t["token"] for t in w[side]["top"]] == top
        assert all(abs(t["p"] - x[t["token"]]) < 1e-5 for t in w[side]["top"])
        assert abs(w[side]["p_expected"] - x[w["expected"]["token"]]) < 1e-5
    if isinstance(w["context"], str) and isinstance(w["expected"]["text"], str):
        assert w["context"] + w["expected"]["text"] in text, w
printed = open(sys.argv[2], encoding="utf-8").read()
assert printed.count("  KLD ") == len(worst) and "1.  KLD %.6f at chunk %d, token %d" % (
    worst[0]["kld"], worst[0]["chunk"], worst[0]["token"]) in printed
assert not any(ord(c) < 32 and c != "\n" for c in printed), "control characters"
other = json.load(open(sys.argv[3]))["quants"][0]["worst"]
for a, b in zip(worst, other):
    assert (a["chunk"], a["token"], a["expected"]) == (b["chunk"], b["token"], b["expected"])
    assert abs(a["kld"] - b["kld"]) < 1e-4 and a["context"] == b["context"]
    assert abs(a["parent"]["top"][0]["p"] - b["parent"]["top"][0]["p"]) < 1e-4
P
# raw ids and a vocabulary of unknown kind are shown by number, control characters escaped
k -m "$qwen" -q "$qwen" --tokens "$ids" --worst 2 >"$work/ids" || fail "--worst with ids"
grep -q "KLD 0.000000 at chunk 1, token 49" "$work/ids" || fail "ties are not in order"

# The table is at most 100 columns wide, with long names cut in the middle; names may be UTF-8.
long=$work/a-very-long-name-of-a-model-é-with-everything-in-it-Q4_0.gguf
cp "$im/wide.Q4_0.gguf" "$long"
k --base "$im/wide.base" -q "$long" --summary --json "$work/long.json" >"$work/table" || fail "--summary"
python3 - "$work/table" "$work/long.json" <<'P' || { cat "$work/table"; fail "the table"; }
import json, sys
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
assert len(lines) == 3 and max(map(len, lines)) <= 100 and len({len(l) for l in lines}) == 1
assert lines[2].startswith("a-very-long-...-Q4_0.gguf") or "..." in lines[2][:27] and "Q4_0.gguf " in lines[2]
assert json.load(open(sys.argv[2]))["quants"][0]["file"].startswith("a-very-long-name-of-a-model-é")
P

# What does not go together.
expect 2 "needs? a model" k --ppl -f "$text"
expect 2 "one of -f and --tokens" k --ppl -m "$qwen"
expect 2 "run of its own" k --ppl -m "$qwen" -f "$text" --base "$work/x"
expect 2 "must be smaller than --ctx" k --ppl-stride 48 -c 48 -m "$qwen" --tokens "$ids"
expect 2 "leave --score out" k --ppl-stride 8 -c 48 -m "$qwen" --tokens "$ids" --score all
expect 2 "runs of their own" k --ppl -m "$qwen" -f "$text" --dump-logits "$work/x"
expect 2 "run of its own" k -m "$qwen" -f "$text" --dump-logits "$work/x" --save-all-logits "$work/y"
expect 2 "belong to a comparison" k --ppl -m "$qwen" -f "$text" --worst 3
expect 2 "need a model to compare" k -m "$qwen" -f "$text" --per-chunk
expect 2 "0 to 1" k --ppl-output-type 2 -m "$qwen" -f "$text"
expect 3 "missing.gguf" k --ppl -m "$qwen" -q "$work/missing.gguf" -f "$text"
# no output over a part of a split model
gguf split -q --max-tensors 8 "$qwen" "$work/part" || fail "gguf split"
part=$(ls "$work"/part-00002-of-*.gguf)
sum=$(md5sum <"$part")
for option in --json --save-all-logits; do
    expect 2 "already a file of this run" \
        k -m "${part/00002/00001}" -f "$text" -c 64 --chunks 1 $option "$part"
done
expect 2 "already a file of this run" \
    k --ppl -m "$qwen" -q "${part/00002/00001}" -f "$text" -c 64 --chunks 1 --json "$part"
[ "$sum" = "$(md5sum <"$part")" ] || fail "a part was overwritten"
no_temporaries "$work"
echo ok
