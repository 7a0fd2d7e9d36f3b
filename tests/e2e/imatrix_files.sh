#!/usr/bin/env bash
# Importance matrices as files: merged, converted, shown, compared, without a model; and on top of
# which a run goes on.
. "$(dirname "$0")/lib.sh"
fixtures=${TAMIS_SHARED:-}/fixtures/imatrix
[ -d "$fixtures" ] || skip "no fixtures"
cd "$work" || exit 1

# json PYTHON FILE: an expression over the parsed file d must hold.
json() {
    python3 -c 'import json,sys; d=json.load(open(sys.argv[2])); assert eval(sys.argv[1]), d' "$1" "$2" ||
        fail "$2: not $1"
}

# Merging: as other tools do it, in both layouts, byte for byte, through every way to say it.
for name in llama idle-expert; do
    a=$fixtures/$name.c128.gguf b=$fixtures/$name.c128-b.gguf
    imatrix -q --in-file "$a,$b" -o m.gguf --json m.json >m.txt || fail "--in-file a,b"
    cmp m.gguf "$fixtures/$name.merged.gguf" || fail "$name: merged"
    imatrix -q --in-file "$a" --in-file "$b" --output-format dat -o m.dat >/dev/null || fail "twice"
    cmp m.dat "$fixtures/$name.merged.dat" || fail "$name: merged as .dat"
    imatrix merge -q "$a" "$b" -o m2.gguf >/dev/null || fail "merge"
    cmp m.gguf m2.gguf || fail "merge and --in-file differ"
    imatrix merge -q -c 128 "$fixtures/$name.c128.dat" -o f.gguf >/dev/null || fail "convert"
    cmp f.gguf "$fixtures/$name.from-dat.merged.gguf" || fail "$name: from .dat"
    imatrix merge -q --output-format dat "$a" -o f.dat >/dev/null || fail "to .dat"
    cmp f.dat "$fixtures/$name.c128.dat" || fail "$name: to .dat"
done
grep -q "2 files: 44 chunks of 128 tokens" m.txt || fail "what was merged is not said"
json 'd["datasets"]==["calib-a.txt","calib-b.txt"] and d["chunk_count"]==44' m.json
json 'len(d["entries"])==32 and len(d["rare_experts"])==4 and d["files"]==2' m.json
imatrix --in-file "$fixtures/llama.c128.gguf" --output-format dat -q >/dev/null || fail "no -o"
cmp imatrix.dat "$fixtures/llama.c128.dat" || fail "the usual name of a legacy file"

# Names do not decide the layout, and that is said.
imatrix merge "$fixtures/llama.c128.gguf" -o odd.dat >/dev/null 2>err.txt || fail "odd name"
grep -q "warning: 'odd.dat' is written in the GGUF layout" err.txt || fail "no word of the layout"
imatrix merge --output-format dat "$fixtures/llama.c128.gguf" -o odd.gguf >/dev/null 2>err.txt
grep -q "written in the legacy .dat layout" err.txt || fail "no word of the legacy layout"
cmp odd.gguf "$fixtures/llama.c128.dat" || fail "the name decided the layout"
imatrix merge --output-format dat "$fixtures/zero-counts.gguf" -o z.dat >/dev/null 2>err.txt
grep -q "1 of 2 entries have no data and are left out" err.txt || fail "entries left out in silence"

# What does not belong together.
expect 3 "no entry in common|different models|has 64 values" \
    imatrix merge -o no.gguf "$fixtures/llama.c128.gguf" "$fixtures/qwen35moe.c128.gguf"
expect 3 "blk.0.attn_k.weight' has 256 values, .*llama.c128.gguf has 128" \
    imatrix merge -o no.gguf "$fixtures/llama.c128.gguf" "$fixtures/bad/gguf-wrong-size.gguf"
expect 2 "is already a file of this run" imatrix merge -o m.gguf m.gguf f.gguf
expect 2 "is already a file of this run" imatrix merge -o no.gguf m.gguf --json m.gguf
expect 2 "empty file name" imatrix --in-file "m.gguf,,f.gguf" -o no.gguf
expect 2 "'json' is not one of" imatrix merge --output-format json -o no.gguf m.gguf
expect 2 "no output" imatrix merge m.gguf
expect 2 "no file" imatrix merge -o no.gguf
expect 3 "missing.gguf" imatrix merge -o no.gguf m.gguf missing.gguf
[ ! -e no.gguf ] || fail "a failed merge wrote its output"
imatrix --in-file "$fixtures/llama.c128.gguf" -m x --chunks 3 -o w.gguf >/dev/null 2>err.txt || fail "-m x"
grep -q "options of a run have no effect" err.txt || fail "options ignored in silence"

# Every malformed file: exit 3 and one line.
while IFS=$'\t' read -r file kind _ says _; do
    case $kind in *imatrix*) ;; *) continue ;; esac
    case $says in *sound*) continue ;; esac
    expect 3 "$file" imatrix show "$fixtures/bad/$file"
done <"$fixtures/bad/README.tsv"
expect 3 "column 7" imatrix statistics "$fixtures/bad/gguf-nan-sum.gguf"
expect 3 "column 60" imatrix merge -o no.gguf "$fixtures/llama.c128.dat" "$fixtures/bad/dat-nan.dat"
[ ! -e no.gguf ] || fail "a malformed file was merged"

# Statistics: the tables, whichever way they are asked for.
imatrix statistics "$fixtures/qwen3moe.c128.gguf" >s1.txt || fail "statistics"
imatrix --in-file "$fixtures/qwen3moe.c128.gguf" --show-statistics >s2.txt || fail "--show-statistics"
cmp s1.txt s2.txt || fail "statistics and --show-statistics differ"
python3 - s1.txt "$fixtures/qwen3moe.c128.stats.txt" <<'P' || fail "the tables differ"
import sys
def rows(path):
    fields = (line.split() for line in open(path, encoding="utf8"))
    return [f for f in fields if len(f) in (4, 13) and f[0].isdigit()]
own, other = rows(sys.argv[1]), rows(sys.argv[2])
assert len(own) == 36 and own == other
P
imatrix statistics "$fixtures/llama.c128.gguf" "$fixtures/llama.c128-b.gguf" >s1.txt || fail "two"
imatrix statistics "$fixtures/llama.merged.gguf" >s2.txt || fail "merged"
cmp s1.txt s2.txt || fail "statistics of two files are not those of their sum"
imatrix statistics --json - "$fixtures/llama.c128-out.gguf" >s.json || fail "--json"
json 'len(d["tensors"])==29 and len(d["layers"])==4 and d["tensors"][-1]["layer"]==-1' s.json
json 'abs(d["tensors"][0]["total"]-132.25)<.01 and d["tensors"][0]["n"]==128' s.json
expect 2 "wants a file" imatrix --show-statistics

# What a file holds.
imatrix show "$fixtures/idle-expert.c128.gguf" >show.txt || fail "show"
grep -q "^datasets *calib-a.txt$" show.txt || fail "show: datasets"
grep -q "^chunks *30 of 128 tokens$" show.txt || fail "show: chunks"
grep -Eq "^blk.3.ffn_up_exps.weight +64 +8 +0 +2886$" show.txt || fail "show: entries"
grep -Eq "^ +0: +1356 +554 +2582 +2886 +1617 +0 +1870 +655$" show.txt || fail "show: counts"
grep -q "blk.3.ffn_down_exps.weight expert 5: 0 tokens" show.txt || fail "show: rare experts"
grep -q "4 experts in all saw fewer than 32 tokens" show.txt || fail "show: their number"
imatrix show --rare 152 "$fixtures/idle-expert.c128.gguf" | grep -q "expert 6: 151 tokens" || fail "--rare"
imatrix show --rare 0 "$fixtures/idle-expert.c128.gguf" >show.txt
! grep -q "in all saw fewer" show.txt || fail "--rare 0 lists experts"
imatrix show --json - "$fixtures/idle-expert.c128.dat" >show.json 2>err.txt || fail "show --json"
json 'd["layout"]=="dat" and d["chunk_count"]==30 and len(d["entries"])==32' show.json
grep -q "counts per expert are lost" err.txt || fail "lost counts are not said"
expect 2 "one file" imatrix show

# Two files compared.
imatrix diff "$fixtures/llama.c128.gguf" "$fixtures/llama.c128.gguf" >diff.txt || fail "diff"
grep -q "^identical: all 28 entries" diff.txt || fail "a file is not identical to itself"
imatrix diff "$fixtures/llama.c128.gguf" "$fixtures/llama.c128.dat" >diff.txt || fail "diff of layouts"
grep -q "differ by rounding only" diff.txt || fail "layouts of one run differ"
imatrix diff "$fixtures/qwen3moe.c128.gguf" "$fixtures/idle-expert.c128.gguf" >diff.txt || fail "diff"
grep -Eq "^  blk.1.ffn_down_exps.weight expert 5: 1711 tokens \(14.852%\) and 0 \(0.000%\)$" diff.txt ||
    fail "an expert that one side never saw is not listed"
[ "$(grep -c '^blk' diff.txt)" = 20 ] || fail "not the farthest 20"
imatrix diff --all "$fixtures/qwen3moe.c128.gguf" "$fixtures/idle-expert.c128.gguf" >all.txt
[ "$(grep -c '^blk' all.txt)" = 32 ] || fail "--all does not list all"
imatrix diff --factor 20 "$fixtures/qwen3moe.c128.gguf" "$fixtures/idle-expert.c128.gguf" >far.txt
[ "$(grep -c '  blk.*expert' far.txt)" = 4 ] || fail "--factor"
imatrix diff --json - "$fixtures/llama.c128.gguf" "$fixtures/llama.c128-out.gguf" >diff.json || fail "json"
json 'd["only_b"]==1 and d["compared"]==28 and not d["identical"] and d["max_distance"]==0' diff.json
json 'd["tensors"][-1]["name"]=="output.weight" and d["tensors"][-1]["in"]=="b"' diff.json
far() { imatrix diff "$@" "$fixtures/idle-expert.c128.gguf" "$fixtures/idle-expert.c128-b.gguf"; }
far --max-distance 0.03 >/dev/null || fail "--max-distance 0.03"
expect 1 "1 of 32 entries are farther apart than 0.02: 'blk.3.ffn_down_exps.weight' by 0.0232" \
    far --max-distance 0.02
expect 1 "'output.weight' cannot be compared" imatrix diff --max-distance 0.1 \
    "$fixtures/llama.c128.gguf" "$fixtures/llama.c128-out.gguf"
printf '\1\0\0\0\1\0\0\0x\1\0\0\0\1\0\0\0\0\0\0\0' >x.dat
expect 3 "no entry in common" imatrix diff x.dat "$fixtures/smallest.gguf"
expect 3 "no entry in common" imatrix merge -o no.gguf x.dat "$fixtures/smallest.gguf"
expect 2 "two files" imatrix diff x.dat
expect 2 "factor must be above 1" imatrix diff --factor 1 x.dat x.dat

# A run on top of files: the same as merging its own file with them.
im() { imatrix -q -m "$model" -f "$calibration" -c 256 "$@"; }
im --chunks 2 -o one.gguf >/dev/null || fail "first run"
im --from-chunk 2 --chunks 3 -o two.gguf >/dev/null || fail "second run"
imatrix merge -q one.gguf two.gguf -o both.gguf >/dev/null || fail "merge of runs"
im --from-chunk 2 --chunks 3 --in-file one.gguf -o on.gguf >on.txt || fail "a run on top"
cmp both.gguf on.gguf || fail "a run on top of a file is not their sum"
im --chunks 2 --output-format dat -o one.dat >/dev/null || fail "a run as .dat"
imatrix merge -q --output-format dat one.gguf -o two.dat >/dev/null
cmp one.dat two.dat || fail "a run written as .dat is not its GGUF converted"
expect 3 "made for another model" im --chunks 1 --in-file "$fixtures/llama.c128.gguf" -o no.gguf
[ ! -e no.gguf ] || fail "a run on top of another model's file wrote its output"
expect 2 "is already a file of this run" im --chunks 1 --in-file one.gguf -o one.gguf

im --from-chunk 93 --chunks -1 -o rest.gguf >/dev/null || fail "--chunks -1"
im --from-chunk 93 -o rest2.gguf >/dev/null && cmp rest.gguf rest2.gguf || fail "--chunks -1 is not all"

# Said, not ignored.
for option in "-ofreq 10" "--output-frequency 5" "--save-frequency 5"; do
    # shellcheck disable=SC2086
    im --chunks 1 $option -o f.gguf >/dev/null 2>err.txt || fail "$option"
    [ "$(grep -c "has no effect" err.txt)" = 1 ] || fail "$option: no word, or more than one"
done
expect 2 "exclude each other" im --ppl --no-ppl -o f.gguf
im --chunks 1 --ppl -o f.gguf >ppl.txt && grep -q "final estimate" ppl.txt || fail "--ppl"
im --chunks 1 --no-ppl -o f.gguf >ppl.txt && ! grep -q "final estimate" ppl.txt || fail "--no-ppl"

# Each sub-command has its help and man page.
for sub in show statistics merge diff; do
    imatrix $sub --help | grep -q "usage: imatrix $sub" || fail "$sub --help"
    imatrix $sub --man | grep -q '^\.TH' || fail "$sub --man"
done
imatrix --help | grep -q "show" || fail "the tool's help does not name the sub-commands"
no_temporaries "$work"
echo ok
