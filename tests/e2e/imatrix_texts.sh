#!/usr/bin/env bash
# Several texts with weights: each is cut on its own, sums and counts are weighted sums, every text
# has its perplexity; chunk ranges and --parse-special hold for each text.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "no python3"
im() { imatrix -q -m "$model" -c 64 "$@"; }
cd "$work" || exit 1
head -c 5000 "$calibration" >a.txt
head -c 4000 "$evaluation" >"b=2.txt"

im -f a.txt -o a.gguf --json a.json >a.out || fail "a.txt"
im -f "b=2.txt" -o b.gguf --json b.json >b.out || fail "b=2.txt"
im -f a.txt -f "b=2.txt" -o ab.gguf --json ab.json >ab.out || fail "two texts"
im -f a.txt -f "b=2.txt" --text-weight a.txt=1.5 --text-weight "b=2.txt=0.25" -o w.gguf --json w.json \
    >w.out || fail "weights"
im -f a.txt --text-weight a.txt=1 -o one.gguf >one.out || fail "a weight of 1"
cmp a.gguf one.gguf || fail "a weight of 1 changes the result"
cmp a.out one.out || fail "a weight of 1 changes what is printed"

# Dense weights see every token of their text, times its weight.
python3 - <<'END' || fail "numbers of the weighted run"
import json
a, b, ab, w = (json.load(open(n + ".json")) for n in ("a", "b", "ab", "w"))
for d, texts in ((ab, (1, 1)), (w, (1.5, 0.25))):
    assert d["chunks"] == a["chunks"] + b["chunks"], d["chunks"]
    assert [t["path"] for t in d["texts"]] == ["a.txt", "b=2.txt"], d["texts"]
    assert d["datasets"] == ["a.txt", "b=2.txt"], d["datasets"]
    for t, one, weight in zip(d["texts"], (a, b), texts):
        assert t["weight"] == weight and t["chunks"] == one["chunks"] and t["tokens"] == one["tokens"], t
        assert abs(t["ppl"] / one["ppl"] - 1) < 1e-5, (t["ppl"], one["ppl"])
    for e, x, y in zip(d["entries"], a["entries"], b["entries"]):
        want = int(texts[0] * x["counts"][0] + texts[1] * y["counts"][0] + 0.5)
        assert e["counts"] == [want], (e, want)
    assert len(d["running_ppl"]) == d["chunks"]
assert ab["ppl"] == w["ppl"], "weights change the perplexity"
END
grep -q "  a.txt: [0-9]* chunks, weight 1.5, PPL = " w.out || fail "no perplexity of a.txt: $(cat w.out)"
grep -q "  b=2.txt: [0-9]* chunks, weight 0.25, PPL = " w.out || fail "no perplexity of b=2.txt"
cmp -s ab.gguf w.gguf && fail "weights change nothing"
im -f a.txt -f "b=2.txt" --text-weight "b=2.txt=0.25" --text-weight a.txt=1.5 -t 1 --mem 1M -o again.gguf >/dev/null 2>&1
cmp w.gguf again.gguf || fail "order of weights, threads or memory change the result"

# Ranges of chunks are those of each text; a run of both is the two runs.
n() { python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); print(d["chunks"], *[t["chunks"] for t in d["texts"]])' "$1"; }
im -f a.txt -f "b=2.txt" --from-chunk 2 --chunks 3 -o r.gguf --json r.json >/dev/null || fail "range"
[ "$(n r.json)" = "6 3 3" ] || fail "--chunks 3 of two texts: $(n r.json)"
im -f a.txt --from-chunk 2 --chunks 3 -o ra.gguf --json ra.json >/dev/null
im -f "b=2.txt" --from-chunk 2 --chunks 3 -o rb.gguf --json rb.json >/dev/null
python3 - <<'END' || fail "a range of two texts is not that of each"
import json
r, a, b = (json.load(open(n + ".json")) for n in ("r", "ra", "rb"))
assert abs(r["texts"][0]["ppl"] / a["ppl"] - 1) < 1e-5 and abs(r["texts"][1]["ppl"] / b["ppl"] - 1) < 1e-5
END
expect 3 "a.txt: .* none is left after skipping 1000" im -f a.txt -f "b=2.txt" --from-chunk 1000 --chunks 1 -o x
# The first text that is too short is the one named.
echo short >short.txt
expect 3 "short.txt: .* one chunk needs 64" im -f a.txt -f short.txt -o x

# Control tokens by name, in each text.
{ cat a.txt; for i in 1 2 3 4 5 6 7 8; do printf '<|endoftext|>'; done; } >special.txt
im -f a.txt -f special.txt -o x.gguf --json plain.json >/dev/null
im -f a.txt -f special.txt --parse-special -o x.gguf --json parsed.json >/dev/null
python3 - <<'END' || fail "--parse-special"
import json
p, q = (json.load(open(n + ".json"))["texts"] for n in ("plain", "parsed"))
assert p[0]["tokens"] == q[0]["tokens"] and p[1]["tokens"] > q[1]["tokens"] == q[0]["tokens"] + 8, (p, q)
END

expect 2 "given twice" im -f a.txt -f a.txt -o x
expect 2 "'c.txt' is no text of this run .*did you mean 'a.txt'" im -f a.txt --text-weight c.txt=2 -o x
expect 2 "FILE=WEIGHT" im -f a.txt --text-weight 2 -o x
expect 2 "has a weight already" im -f a.txt --text-weight a.txt=2 --text-weight a.txt=3 -o x
for bad in 0 -1 nan inf 1e9 2x ""; do expect 2 "text-weight" im -f a.txt --text-weight "a.txt=$bad" -o x; done
cp a.txt c.txt
expect 2 "already a file of this run" im -f a.txt -f c.txt -o c.txt
expect 2 "already a file of this run" im -f a.txt -f c.txt -o x --json c.txt
expect 2 "already a file of this run" im -f a.txt -f c.txt -o ./c.txt
mv c.txt y.checkpoint
expect 2 "already a file of this run" im -f a.txt -f y.checkpoint -o y
[ ! -e x ] || fail "a refused run wrote its output"
no_temporaries "$work"
echo ok
