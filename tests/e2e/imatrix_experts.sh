#!/usr/bin/env bash
# imatrix --all-experts: the same perplexity to the last digit, every expert saw every token, the
# matrix says so, in the file, in 'show' and in the JSON, and after merging; a model without experts
# is told that nothing changes.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
fixtures=$TAMIS_SHARED/fixtures/imatrix
run() { imatrix -m "$fixtures/idle-expert.gguf" -f "$fixtures/calib-a.txt" -c 128 --chunks 3 "$@"; }

run -q -o plain.gguf --json plain.json >plain.txt || fail "plain run"
run -q --all-experts -o all.gguf --json all.json >all.txt || fail "--all-experts"
grep -E "^\[|PPL" plain.txt >plain.ppl
grep -E "^\[|PPL" all.txt >all.ppl
cmp plain.ppl all.ppl || fail "the perplexity changes"
grep -q "12 of 96 expert slices saw no token" plain.txt || fail "no idle expert in the plain run"
grep -q " 0 of 96 expert slices saw no token" all.txt || fail "an expert is idle"
python3 - <<'P' || fail "JSON"
import json
plain, all_ = json.load(open("plain.json")), json.load(open("all.json"))
assert plain["ppl"] == all_["ppl"] and plain["running_ppl"] == all_["running_ppl"]
assert all_["all_experts"] is True and plain["all_experts"] is False
for e in all_["entries"]:
    counts = e.get("counts", [e.get("count", 384)])
    assert all(c == 384 for c in counts), e
P
imatrix show all.gguf | grep -q '^experts .*--all-experts' || fail "show"
imatrix show plain.gguf | grep -q -- '--all-experts' && fail "show of a plain matrix"
imatrix merge -q -o both.gguf plain.gguf all.gguf || fail "merge"
imatrix show both.gguf | grep -q -- '--all-experts' || fail "merging forgets it"
quantize --imatrix all.gguf "$fixtures/idle-expert.gguf" q.gguf IQ4_NL 2>said || fail "quantize"
grep -q "fewer than 32" said && fail "an expert borrows"

imatrix -m "$model" -f "$calibration" -c 64 --chunks 1 --all-experts -o dense.gguf >/dev/null 2>said ||
    fail "dense model"
grep -q "has no experts; --all-experts changes nothing" said || fail "nothing is said of a dense model"
imatrix show dense.gguf | grep -q -- '--all-experts' && fail "a dense matrix says experts"
exit 0
