#!/usr/bin/env bash
# gguf split and merge: files, sizes and bytes, merge after split gives the source back, hostile
# sets are refused, nothing appears before it is whole. With TAMIS_PEER (a folder with
# llama-gguf-split) the files of both tools are compared byte by byte.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
cp "$model" model.gguf
peer=${TAMIS_PEER:-}/llama-gguf-split

# plan ARGS...: name, tensors and bytes of each file that split would write.
plan() {
    gguf split --dry-run "$@" | sed 's/^\(.*\): \([0-9]*\) tensors, \([0-9]*\) bytes$/\1 \2 \3/'
}
# same A B: equal bytes.
same() { cmp "$1" "$2" || fail "$1 is not $2"; }
# key FILE KEY: its value as JSON, read without the rest of the set.
key() {
    gguf show --no-tensors --json - "$1" | python3 -c '
import json, sys
print({m["key"]: m["value"] for m in json.load(sys.stdin)["metadata"]}.get(sys.argv[1]))' "$2"
}

# --- the plan is what is written, and merge undoes it ---
round_trip() { # NAME FILE ARGS...
    local name=$1 file=$2 path n bytes
    shift 2
    plan "$@" "$file" "$name" >plan.txt
    ! ls "$name"-* 2>/dev/null || fail "--dry-run wrote files"
    gguf split -q "$@" "$file" "$name" >out.txt || fail "split $file $*"
    [ ! -s out.txt ] || fail "split -q prints"
    while read -r path n bytes; do
        [ "$(stat -c %s "$path")" = "$bytes" ] || fail "$path has not the size foretold"
        [ "$path" = "$(ls "$path")" ] || fail "$path is missing"
    done <plan.txt
    [ "$(ls "$name"-*.gguf | wc -l)" = "$(wc -l <plan.txt)" ] || fail "other files than planned"
    gguf merge -q "$name-00001-of-"*.gguf "$name.whole" || fail "merge $name"
}
round_trip count model.gguf --max-tensors 20
same count.whole model.gguf
[ "$(cut -d' ' -f2 plan.txt | tr '\n' ' ')" = "20 20 20 8 " ] || fail "tensors: $(cat plan.txt)"
round_trip usual model.gguf
same usual.whole model.gguf
[ "$(cut -d' ' -f1 plan.txt)" = usual-00001-of-00001.gguf ] || fail "128 tensors are the default"
round_trip alone model.gguf --no-tensor-first-split --max-tensors 40
same alone.whole model.gguf
[ "$(cut -d' ' -f2 plan.txt | tr '\n' ' ')" = "0 40 28 " ] || fail "no-tensor-first: $(cat plan.txt)"
round_trip size model.gguf --max-size 3M
same size.whole model.gguf
python3 - size-*.gguf <<'P' || fail "--max-size: a file has too many bytes"
import json, subprocess, sys
n = 0
for path in sys.argv[1:]:
    n += 1
    tensors = json.loads(subprocess.check_output(["gguf", "show", "--json", "-", path]))["tensors"]
    own = [t for t in tensors if t["i_file"] == n - 1]
    total = sum((t["size"] + 31) // 32 * 32 for t in own)
    assert total <= 3000000 or len(own) == 1, (path, total)
    if n < len(sys.argv) - 1:  # the next one did not fit any more
        after = next(t for t in tensors if t["i_file"] == n)
        assert total + (after["size"] + 31) // 32 * 32 > 3000000, (path, total)
P
for size in 3000K 3MB 0.003G 3000000; do
    [ "$(plan --split-max-size $size model.gguf size)" = "$(cat plan.txt)" ] ||
        fail "--split-max-size $size is not 3M"
done
round_trip both model.gguf --max-size 3M --split-max-tensors 5
same both.whole model.gguf
[ "$(cut -d' ' -f2 plan.txt | sort -n | tail -1)" = 5 ] || fail "both limits: $(cat plan.txt)"

# --- keys of the parts; a part is a source; other prefixes ---
[ "$(key count-00003-of-00004.gguf split.no)" = 0 ] || fail "a set shows its first file's keys"
gguf split -q --max-tensors 34 count-00003-of-00004.gguf again.gguf || fail "split of a set"
gguf merge -q again-00002-of-00002.gguf again.whole || fail "merge from the second part"
same again.whole model.gguf
for k in split.no split.count split.tensors.count; do
    [ "$(key again.whole $k)" = None ] || fail "merge leaves $k"
done
gguf merge -q --sync count-0000?-of-00004.gguf synced.gguf || fail "merge --sync"
same synced.gguf model.gguf
gguf split -q --sync --max-tensors 34 model.gguf synced || fail "split --sync"
for part in again-0000?-of-00002.gguf; do
    cmp -s "$part" "synced${part#again}" || fail "--sync writes other bytes"
done
gguf merge -q count-0000?-of-00004.gguf all.gguf || fail "merge of all parts by name"
same all.gguf model.gguf
expect 2 "not a part of the same model" gguf merge count-00001-of-00004.gguf again-00001-of-00002.gguf x.gguf
[ ! -e x.gguf ] || fail "a refused merge writes"

# --- replacing, and what must not be replaced ---
echo old >old.gguf
gguf merge -q count-00001-of-00004.gguf old.gguf || fail "merge over an old file"
same old.gguf model.gguf
expect 2 "already a file of this run" gguf merge count-00001-of-00004.gguf count-00002-of-00004.gguf
expect 2 "already a file of this run" gguf split --max-tensors 20 count-00001-of-00004.gguf count
expect 2 "already a file of this run" gguf split --dry-run --max-tensors 20 count-00001-of-00004.gguf count
expect 2 "already a file of this run" gguf split --max-tensors 20 model.gguf new --json new-00001-of-00004.gguf
expect 2 "already a file of this run" gguf merge count-00001-of-00004.gguf x.gguf --json count-00001-of-00004.gguf
expect 4 "cannot write" gguf split model.gguf no-such-directory/x
expect 4 "no file name" gguf split model.gguf ""
expect 2 "2 given|2 arguments|prefix are needed" gguf split model.gguf
expect 2 "must hold something" gguf split --max-size 0 model.gguf x
expect 4 "65535|of memory are needed" gguf split --mem 1K model.gguf x
expect 3 "not a part of a split model" gguf merge model.gguf x.gguf
gguf merge -q count-00001-of-00004.gguf m.gguf || fail "the set was harmed"
same m.gguf model.gguf

# --- JSON ---
gguf split --max-tensors 20 --json plan.json --dry-run model.gguf json >/dev/null || fail "--json"
gguf merge -q --json merged.json count-00001-of-00004.gguf json.gguf || fail "merge --json"
python3 - <<'P' || fail "JSON of split and merge"
import json, os
plan, merged = json.load(open("plan.json")), json.load(open("merged.json"))
assert plan["dry_run"] and [f["n_tensors"] for f in plan["files"]] == [20, 20, 20, 8], plan
assert plan["files"][3]["file"] == "json-00004-of-00004.gguf"
assert plan["total_bytes"] == sum(f["bytes"] for f in plan["files"])
assert not merged["dry_run"] and merged["files"][0]["file"] == "json.gguf"
assert merged["total_bytes"] == os.path.getsize("json.gguf")
P

# --- --delete ---
gguf split -q --max-tensors 30 model.gguf gone || fail "split"
gguf merge -q --delete --dry-run gone-00001-of-00003.gguf d.gguf >/dev/null || fail "--delete --dry-run"
[ -e gone-00002-of-00003.gguf ] && [ ! -e d.gguf ] || fail "--dry-run deletes or writes"
gguf merge -q --delete-splits gone-00001-of-00003.gguf d.gguf || fail "--delete"
same d.gguf model.gguf
! ls gone-* 2>/dev/null || fail "--delete leaves parts"

# --- sets that are wrong ---
fresh() {
    rm -f bad-*
    gguf split -q --max-tensors 20 model.gguf bad || fail "split"
}
refused() { # PATTERN [ARGS]
    expect 3 "$1" gguf merge "${2:-bad-00001-of-00004.gguf}" x.gguf
    [ ! -e x.gguf ] || fail "a bad set was merged: $1"
}
fresh; rm bad-00003-of-00004.gguf; refused "part 3 of 4.*no such file"
fresh; cp bad-00002-of-00004.gguf bad-00003-of-00004.gguf; refused "'split.no' 1 in part 3"
fresh; cp bad-00001-of-00004.gguf bad-00002-of-00004.gguf; refused "part 2 of 4"
fresh; mv bad-00002-of-00004.gguf t; mv bad-00003-of-00004.gguf bad-00002-of-00004.gguf
mv t bad-00003-of-00004.gguf; refused "'split.no' 2 in part 2"
fresh; truncate -s -40000 bad-00004-of-00004.gguf; refused "part 4 of 4.*beyond the end"
fresh; gguf split -q --max-tensors 23 model.gguf other; cp other-00002-of-00003.gguf bad-00002-of-00004.gguf
refused "'split.count' differs: 3 here, 4"
fresh; mv bad-00001-of-00004.gguf first.gguf; refused "does not end in -00001-of-00004.gguf" first.gguf
fresh; printf '\0\0\0' | dd of=bad-00002-of-00004.gguf bs=1 seek=4 conv=notrunc status=none; refused "part 2 of 4.*version"

# --- imatrix files and projectors are GGUF files like any other ---
head -c 3000 "$evaluation" >text.txt
imatrix -q -m model.gguf -f text.txt -c 64 --chunks 1 -o im.gguf >/dev/null || fail "imatrix"
round_trip im im.gguf --max-tensors 11
same im.whole im.gguf
gguf set -q --force model.gguf general.architecture=clip general.type=mmproj -o proj.gguf || fail "set"
round_trip proj proj.gguf --max-size 2M
same proj.whole proj.gguf

# --- killed: nothing under a final name, or all of it ---
for i in 1 2 3 4 5 6; do
    rm -f kill-*
    gguf split -q --max-tensors 2 model.gguf kill &
    pid=$!
    sleep "0.00$((i * 3 % 10))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ ! -e kill-00001-of-00034.gguf ] || [ "$(ls kill-*.gguf | wc -l)" = 34 ] ||
        fail "the first file of a set that is not whole"
done
gguf split -q --max-tensors 2 model.gguf kill || fail "split after kills"
no_temporaries .

# --- containers of every kind ---
fixtures=${TAMIS_SHARED:-}/fixtures/gguf
if [ -d "$fixtures" ]; then
    for name in align-8 align-64 align-4096 all-tensor-types all-value-types empty-arrays many-keys \
        many-tensors metadata-only utf8 bytes-in-strings tokenizer-smallest; do
        round_trip "f-$name" "$fixtures/valid/$name.gguf" --max-tensors 3
        same "f-$name.whole" "$fixtures/valid/$name.gguf"
    done
    [ "$(gguf split --dry-run "$fixtures/valid/metadata-only.gguf" x | wc -l)" = 1 ] ||
        fail "a file without tensors"
    python3 - f-align-64-*.gguf <<'P' || fail "general.alignment is not in every part"
import sys
for path in sys.argv[1:]:
    assert b"general.alignment" in open(path, "rb").read(), path
P
    # Big-endian sources become little-endian.
    round_trip be "$fixtures/valid/be-v3.gguf" --max-tensors 1
    same be.whole "$fixtures/valid/le-v3.gguf"
    gguf merge -q "$fixtures/valid/split-00002-of-00003.gguf" s.gguf || fail "fixture set"
    gguf check s.gguf >/dev/null || fail "merged fixture set"
    gguf merge -q "$fixtures/valid/split-notensors-00001-of-00003.gguf" s.gguf || fail "fixture set"
    # A type that is unknown is copied when the next tensor bounds it.
    gguf split -q "$fixtures/odd/type-unknown.gguf" odd 2>err || fail "type-unknown: $(cat err)"
    gguf merge -q odd-00001-of-00001.gguf odd.whole 2>err || fail "type-unknown: $(cat err)"
    same odd.whole "$fixtures/odd/type-unknown.gguf"
    expect 3 "as the last of its file nothing would bound" \
        gguf split --max-tensors 1 "$fixtures/odd/type-unknown.gguf" x
    expect 3 "type \(id [0-9]*\) is unknown" gguf split "$fixtures/odd/type-unknown-last.gguf" x
fi

# --- llama-gguf-split ---
[ -x "$peer" ] || { echo "split and merge walked, without llama-gguf-split"; exit 0; }
both() { # PEER-OPTIONS -- OUR-OPTIONS: the same files
    local theirs=() f
    while [ "$1" != -- ]; do theirs+=("$1"); shift; done
    shift
    rm -f p-* o-*
    "$peer" --split "${theirs[@]}" model.gguf p >peer.txt 2>&1 || fail "llama-gguf-split ${theirs[*]}"
    gguf split -q "$@" model.gguf o || fail "split $*"
    [ "$(ls p-* | wc -l)" = "$(ls o-* | wc -l)" ] || fail "other files than the peer's: $*"
    for f in p-*; do same "o-${f#p-}" "$f"; done
}
both --split-max-tensors 20 -- --max-tensors 20
both --split-max-tensors 1 -- --max-tensors 1
both -- --max-tensors 128
both --split-max-size 5M -- --max-size 5M
both --split-max-tensors 30 --no-tensor-first-split -- --max-tensors 30 --no-tensor-first-split
"$peer" --merge count-00001-of-00004.gguf p.gguf >peer.txt 2>&1 || fail "llama-gguf-split --merge"
gguf unset -q p.gguf split.no split.count split.tensors.count || fail "unset of the peer's leavings"
same p.gguf model.gguf
gguf merge -q p-00001-of-*.gguf o.gguf || fail "merge of the peer's files"
same o.gguf model.gguf
if [ -x "$TAMIS_PEER/llama-quantize" ]; then
    "$TAMIS_PEER/llama-quantize" --dry-run size-00001-of-*.gguf Q8_0 >peer.txt 2>&1 ||
        fail "llama-quantize does not load our set"
fi
echo "split and merge walked; the same bytes as llama-gguf-split"
