#!/usr/bin/env bash
# Task scores of kld: what llama-perplexity printed for the same files, several models in one run,
# and files that are refused.
. "$(dirname "$0")/lib.sh"
tasks=$TAMIS_SOURCE/testdata/tasks

for kind in hellaswag winogrande multiple-choice; do
    for n in 0 11; do
        file=$(echo "$tasks/$kind".*)
        kld --quiet -m "$model" --$kind --$kind-tasks $n -f "$file" --per-task \
            --json "$work/$kind.$n.json" >"$work/$kind.$n.txt" 2>/dev/null || fail "$kind $n"
    done
done
python3 - "$work" "$tasks/expected.tsv" <<'P' || fail "scores differ from llama-perplexity's"
import json, re, sys
rows = {}
for line in open(sys.argv[2]):
    if line[0] != "#":
        kind, n, *rest = line.rstrip("\n").split("\t")
        rows.setdefault((kind, n), []).append(rest)
assert len(rows) == 6
for (kind, n), expected in rows.items():
    text = open(f"{sys.argv[1]}/{kind}.{n}.txt").read()
    report = json.load(open(f"{sys.argv[1]}/{kind}.{n}.json"))
    model = report["models"][0]
    lines = [l.split() for l in text.splitlines() if re.match(r" +\d+ +\d", l)]
    assert len(lines) == len(expected) == report["tasks"] == len(model["tasks"]), (kind, n)
    n_right = 0
    for i, (ours, peer) in enumerate(zip(lines, expected)):
        n_right += model["tasks"][i]["right"]
        assert abs(float(ours[1]) - float(peer[1])) < 1e-3, (kind, n, ours, peer)
        assert abs(100 * n_right / (i + 1) - float(peer[1])) < 1e-3, (kind, n, peer)
        if kind == "winogrande":
            for a, b in zip(model["tasks"][i]["scores"], peer[2:4]):
                assert abs(a - float(b)) < 0.06, (n, ours, peer) # the peer rounds activations to bf16
            assert str(model["tasks"][i]["answer"]) == peer[4], (n, ours, peer)
    assert n_right == model["right"]
    assert abs(model["share"] - float(expected[-1][1]) / 100) < 1e-5
# by chance: tasks over choices
report = json.load(open(f"{sys.argv[1]}/multiple-choice.0.json"))
n_choices = sum(len(t["scores"]) for t in report["models"][0]["tasks"])
assert abs(report["chance"] - 25 / n_choices) < 1e-12
P
grep -q '^tiny-qwen3.gguf: .* own context' "$work/winogrande.0.txt" || fail "no exact score"

# Several models: the same tasks, answers that changed; threads do not matter.
quantize --quiet "$model" "$work/q2.gguf" Q2_K 2>/dev/null || fail "quantize"
kld --quiet -t 1 -m "$model" -q "$work/q2.gguf" -q "$model" --winogrande -f "$tasks/winogrande.csv" \
    --json "$work/a.json" >/dev/null 2>&1 || fail "three models"
kld --quiet -t 2 -m "$model" -q "$work/q2.gguf" -q "$model" --winogrande -f "$tasks/winogrande.csv" \
    --json "$work/b.json" >"$work/three.txt" 2>&1 || fail "three models, two threads"
cmp -s "$work/a.json" "$work/b.json" || fail "threads change the scores"
python3 - "$work/a.json" <<'P' || fail "changes"
import json, sys
parent, q2, again = json.load(open(sys.argv[1]))["models"]
pairs = list(zip(parent["tasks"], q2["tasks"]))
assert q2["changed"] == sum(a["answer"] != b["answer"] for a, b in pairs) > 0
assert q2["gained"] == sum(b["right"] and not a["right"] for a, b in pairs)
assert q2["lost"] == sum(a["right"] and not b["right"] for a, b in pairs)
assert (again["changed"], again["gained"], again["lost"]) == (0, 0, 0)
assert again["tasks"] == parent["tasks"]
P

# The last line of a WinoGrande file counts when an empty one follows, and it is said otherwise.
{ cat "$tasks/winogrande.csv"; echo; } >"$work/open.csv"
kld -m "$model" --winogrande -f "$tasks/winogrande.csv" 2>&1 | grep -q 'last line is left out' ||
    fail "the last line is left out without a word"
kld -m "$model" --winogrande -f "$work/open.csv" 2>"$work/err" | grep -q 'over 49 of 49' ||
    fail "an empty line does not take the last one in"
grep -q 'left out' "$work/err" && fail "nothing was left out"

# Refused, with the place.
run() { kld --quiet -m "$model" "$@"; }
head -5 "$tasks/hellaswag.txt" >"$work/short.txt"
expect 3 'last task has 5 of its 6 lines' run --hellaswag -f "$work/short.txt"
sed 2s/.*/4/ "$tasks/hellaswag.txt" >"$work/four.txt"
expect 3 'line 2 should be the index' run --hellaswag -f "$work/four.txt"
printf '1,a _ b,x,y\n\n' >"$work/few.csv"
expect 3 'line 1 has fewer than four commas' run --winogrande -f "$work/few.csv"
printf '1,a b,x,y,1\n\n' >"$work/gap.csv"
expect 3 'line 1 has no _' run --winogrande -f "$work/gap.csv"
printf '1,a _ b,x,y,3\n\n' >"$work/three.csv"
expect 3 'does not end in 1 or 2' run --winogrande -f "$work/three.csv"
: >"$work/empty"
expect 3 'no task found' run --hellaswag -f "$work/empty"
for size in 2 100 1000 4000; do
    head -c $size "$tasks/multiple-choice.bin" >"$work/cut.bin"
    expect 3 'cut.bin: ' run --multiple-choice -f "$work/cut.bin"
done
printf '\377\377\377\377' >"$work/many.bin"
expect 3 'says it has 4294967295 tasks' run --multiple-choice -f "$work/many.bin"
expect 2 'one kind of task' run --hellaswag --winogrande -f "$work/empty"
expect 2 'need a model' kld --hellaswag -f "$tasks/hellaswag.txt"
expect 2 'take no --tokens' run --hellaswag -c 128 -f "$tasks/hellaswag.txt"
expect 2 'already a file of this run' run --hellaswag -f "$tasks/hellaswag.txt" --json "$model"
