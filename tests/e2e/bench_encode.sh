#!/usr/bin/env bash
# scripts/bench/encode: every option, on few types and for moments only; llama-quantize is played by
# quantize itself, so that both files must have the same errors.
. "$(dirname "$0")/lib.sh"
golden=${TAMIS_SHARED:?}/fixtures/formats/golden.gguf
[ -f "$golden" ] || skip "no reference fixtures"
python3 -c "" 2>/dev/null || skip "no python3"
export TAMIS_BIN
bench() {
    python3 "$TAMIS_SOURCE/scripts/bench/encode" --seconds 0.01 --dir "$work" "$@" >"$work/table" ||
        fail "encode $*"
}

bench --types q4_K,Q8_0,f16 --effort fast,normal --threads 2 --golden "$golden" \
    --svg "$work/plot.svg" --tsv "$work/all.tsv" --json "$work/all.json"
grep -q "2 threads" "$work/table" || fail "threads"
[ "$(grep -cE '^(q4_K|q8_0) .* (fast|normal) ' "$work/table")" = 4 ] || fail "efforts and types"
[ "$(grep -c '^f16 ' "$work/table")" = 1 ] || fail "a float has no efforts"
grep -qE '^q8_0 .*1\.000 +1\.000 +1\.000 +1\.000$' "$work/table" || fail "q8_0 is fixed by the format"
python3 - "$work" "$golden" <<'PY' || fail "the numbers"
import csv, json, os, sys
import xml.etree.ElementTree as xml
work, golden = sys.argv[1:]
lines = json.load(open(f"{work}/all.json"))["types"]
table = {(l["type"], l["encoder"]): l for l in lines}
recorded = {(l["type"].lower(), l["variant"]): l for l in
            csv.DictReader(open(os.path.dirname(golden) + "/errors.tsv"), delimiter="\t")}
for name in ("q4_K", "q8_0"):
    # What the file holds is what was recorded of the reference encoders.
    ours, reference = table[name, "normal"], table[name, "reference"]
    row = recorded[name.lower(), "imatrix"]
    assert abs(reference["weighted_mse"] / float(row["weighted_mse"]) - 1) < 1e-4, name
    plain = recorded[name.lower(), "plain"]
    assert abs(reference["mse"] / float(plain["mse"]) - 1) < 1e-4, name
    assert ours["bits"] == float(row["bits_per_weight"]) and ours["one_core"] > 0 < ours["all_cores"]
    ratio = ours["weighted_mse"] / reference["weighted_mse"]
    assert abs(ours["ratio_weighted_mse"] / ratio - 1) < 1e-4, name
assert table["q4_K", "normal"]["ratio_weighted_rows"] < 1
with open(f"{work}/all.tsv") as text:
    assert len(list(csv.DictReader(text, delimiter="\t"))) == len(lines)
words = [e.text for e in xml.parse(f"{work}/plot.svg").iter() if e.tag.endswith("text")]
assert words.count("q4_K") == 2 and words.count("q8_0") == 2 and "f16" not in words, words
PY

bench --types q4_0 --effort best --golden "$work/none.gguf" 2>"$work/stderr"
grep -q "none.gguf is not there" "$work/stderr" || fail "a golden file that is missing is said"
[ -f "$work/encode.svg" ] && fail "a plot without errors"
python3 "$TAMIS_SOURCE/scripts/bench/encode" --types q9 --dir "$work" >/dev/null 2>&1 && fail "q9"

mkdir "$work/peer"
printf '#!/bin/sh\nexec "%s/quantize" -q "$@"\n' "$TAMIS_BIN" >"$work/peer/llama-quantize"
chmod +x "$work/peer/llama-quantize"
for peer in "$work/peer" "$work/peer/llama-quantize"; do
    bench --types q4_0 --effort normal --golden "$golden" --model "$model" --runs 1 --threads 1 \
        --peer "$peer" --json "$work/peer.json"
    grep -qE '^q4_0 .* s .* s .*x +1\.000 +1\.000$' "$work/table" || {
        cat "$work/table"
        fail "beside itself"
    }
done
[ -f "$work/encode.svg" ] || fail "the plot's default place"
python3 -c 'import json, sys; p = json.load(open(sys.argv[1]))["peer"]
assert len(p) == 1 and p[0]["ratio_weighted_mse"] == 1 and p[0]["seconds"] > 0' "$work/peer.json" ||
    fail "the peer in JSON"
ls "$work"/encode-*.gguf | grep -qv imatrix && fail "large files left behind"
exit 0
