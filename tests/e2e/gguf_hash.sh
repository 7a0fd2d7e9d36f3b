#!/usr/bin/env bash
# gguf hash: each option and what it prints, manifests written, checked and refused.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
gguf=$TAMIS_BIN/gguf
cp "$model" m.gguf

# The digests of data are those of the bytes in the file: of the norm at its place.
gguf show --json show.json m.gguf >/dev/null
read -r offset size < <(python3 - <<'E2'
import json
j = json.load(open("show.json"))
t = next(t for t in j["tensors"] if t["name"] == "output_norm.weight")
print(j["data_offset"] + t["offset"], t["size"])
E2
)
tail -c +$((offset + 1)) m.gguf | head -c "$size" >norm.bin
want=$(sha256sum norm.bin | cut -d' ' -f1)
gguf hash --sha256 m.gguf >sha || fail "hash --sha256"
grep -qx "sha256    $want  m.gguf:output_norm.weight" sha || fail "sha256 of a tensor"
want=$(sha1sum norm.bin | cut -d' ' -f1)
gguf hash --sha1 m.gguf | grep -qx "sha1      $want  m.gguf:output_norm.weight" || fail "sha1"
[ "$(gguf hash --all m.gguf | cut -d' ' -f1 | sort | uniq -c | wc -l)" = 3 ] || fail "--all: three algorithms"
gguf hash --all m.gguf | grep -x 'sha256 .*' | cmp - sha || fail "--all has other lines than --sha256"
[ "$(gguf hash --all --no-layer m.gguf | wc -l)" = 3 ] || fail "--no-layer"
gguf hash --uuid m.gguf | grep -Eqx 'uuid      [0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}  m.gguf' || fail "--uuid"
[ "$(gguf hash --xxh64 --no-layer m.gguf | wc -c)" = $((8 + 2 + 16 + 2 + 6 + 1)) ] || fail "--xxh64"
gguf hash m.gguf >plain
gguf hash --xxh3-128 m.gguf | cmp - plain || fail "xxh3-128 is the default"
grep -Eqx 'xxh3-128  [0-9a-f]{32}  m.gguf#model' plain || fail "no model line"
gguf hash --sha256 --model --no-layer m.gguf | grep -q '^sha256 .*#model$' || fail "--model"
for n in 1 3; do
    gguf hash -t $n m.gguf | cmp - plain || fail "other digests with $n threads"
done
gguf hash --mem 10M m.gguf | cmp - plain || fail "other digests with --mem"
expect 4 "of memory are needed, --mem allows 1.00 MB" gguf hash --mem 1M m.gguf
gguf hash --json j.json m.gguf >/dev/null
python3 - <<'E2' || fail "--json"
import json
lines = [l.split(None, 2) for l in open("plain").read().splitlines()]
d = json.load(open("j.json"))["files"][0]
assert d["file"] == "m.gguf"
assert [(x["algorithm"], x["digest"]) for x in d["digests"]] == [(a, h) for a, h, _ in lines]
assert d["digests"][-1]["scope"] == "model" and d["digests"][0]["tensor"] in lines[0][2]
E2
[ -z "$(gguf hash --json - m.gguf | head -c1 | tr -d '{')" ] || fail "--json - prints JSON alone"

# A manifest: what is printed, and all that can be wrong with it.
gguf hash -o sums m.gguf || fail "-o"
cmp sums plain || fail "the manifest is not what is printed"
gguf hash --check sums m.gguf >out || fail "--check"
[ "$(grep -c -- '  -  Ok$' out)" = "$(wc -l <plain)" ] || fail "--check: not every line is Ok"
grep -qx 'Verification results for sums - Success' out || fail "no verdict"
mkdir other && cp m.gguf other/m.gguf && cp m.gguf renamed.gguf
gguf hash --check sums other/m.gguf >out || fail "the same name in another folder"
gguf hash --check sums renamed.gguf >out || fail "a manifest about one file"
[ "$(gguf hash --check sums --no-layer m.gguf | grep -c -- ' Ok$')" = 2 ] || fail "--check --no-layer"
cp m.gguf bent.gguf
printf '\377' | dd of=bent.gguf bs=1 seek=$((offset + 1)) conv=notrunc status=none
expect 1 "3 different, 0 not in it" "$gguf" hash --check sums bent.gguf
grep -qx "xxh3-128  [0-9a-f]*  bent.gguf:output_norm.weight  -  Mismatch" stdout || fail "no Mismatch"
grep -v output_norm sums >short
expect 1 "1 not in it" "$gguf" hash --check short m.gguf
grep -q "output_norm.weight  -  Not Found" stdout || fail "no Not Found"
{ cat sums; echo "xxh3-128  00000000000000000000000000000000  m.gguf:no.such"; } >long
expect 1 "1 of it not in the model" "$gguf" hash --check long m.gguf
grep -q "m.gguf:no.such  -  Missing" stdout || fail "no Missing"
{ cat sums; echo "md5       00000000000000000000000000000000  m.gguf"; } >md5
expect 1 "1 of unknown algorithms" "$gguf" hash --check md5 m.gguf
grep -q "md5 .*  -  Unknown Algorithm" stdout || fail "no Unknown Algorithm"
expect 1 "1 not in it" "$gguf" hash --sha256 --check sums m.gguf
grep -q "^sha256 .*Not Found" stdout || fail "an algorithm that the manifest lacks"
sed 's/m.gguf/a.gguf/' sums >two && sed 's/m.gguf/b.gguf/' sums >>two
expect 1 "no line about 'm.gguf'" "$gguf" hash --check two m.gguf
gguf hash --check sums --json v.json m.gguf >/dev/null
grep -q '"verdict":.*"Ok"' v.json || fail "verdicts in JSON"

expect 3 "cannot open 'absent.gguf'" gguf hash --check two absent.gguf
expect 3 "cannot open 'absent'" "$gguf" hash --check absent m.gguf
echo "xxh3-128  12  m.gguf" >bad
expect 3 "'bad', line 1 is malformed" "$gguf" hash --check bad m.gguf
head -c 300 m.gguf >bad
expect 3 "NUL" "$gguf" hash --check bad m.gguf
: >bad
expect 3 "no line of a known algorithm" "$gguf" hash --check bad m.gguf
{ cat sums; head -1 sums | sed 's/  [0-9a-f]*/  00000000000000000000000000000000/'; } >bad
expect 3 "two different xxh3-128 digests" "$gguf" hash --check bad m.gguf
expect 2 "exclude each other" "$gguf" hash --check sums -o new m.gguf
expect 2 "already a file of this run" "$gguf" hash -o m.gguf m.gguf
expect 2 "would replace the manifest" "$gguf" hash --check sums --json sums m.gguf
expect 2 "no file given" "$gguf" hash
expect 3 "cannot open" "$gguf" hash -o half m.gguf absent.gguf
[ ! -e half ] || fail "a manifest of a failed run"
no_temporaries "$work"

# Two models with equal bytes: equal data, another model.
if [ -d "${TAMIS_SHARED:-}/fixtures/gguf" ]; then
    valid=$TAMIS_SHARED/fixtures/gguf/valid
    # As llama-gguf-hash --all --uuid prints them.
    cp "$valid/v3.gguf" a.gguf
    gguf hash --all --uuid a.gguf >out
    cmp out - <<'E2' || fail "other lines than llama-gguf-hash"
xxh64     7917d9bfcfb01891  a.gguf:token_embd.weight
sha1      eaeb77bf827c379c5e702d5619dd9b5573947788  a.gguf:token_embd.weight
sha256    c86204fbb02101cb54e3d29adf6b7f81cf2a7f8916d30161026f0303faf9b4df  a.gguf:token_embd.weight
xxh64     7959fd6649e0df3b  a.gguf:output_norm.weight
sha1      8981729d6b043e70d69159348dc88078cf4686e1  a.gguf:output_norm.weight
sha256    2dbfed127ed636de3e3fe53bb8457566300d9bd3b395e0aef1cbe00d9ce12c0a  a.gguf:output_norm.weight
xxh64     ad8cb412e01bdb0e  a.gguf:output.weight
sha1      2da8191eb99bdac18b232017ad555cff8667ccf8  a.gguf:output.weight
sha256    b67dde9f336f3996c1b08d4fb7f82914e775e120fe3bf4e15e1b7a83bf54c3cd  a.gguf:output.weight
xxh64     a9c56482f815ceac  a.gguf
sha1      e4b824322e9842bf36958c4f95bd987792bdf45d  a.gguf
sha256    68552754c33941e3304d3fafe49c0637284e63d0c6dc4ad9b1ab8b3eedd5d8b2  a.gguf
uuid      25543948-a233-547c-8967-29a7bf9bb264  a.gguf
E2
    # The peer's own manifest, in its order.
    gguf hash --check out a.gguf >verdict || fail "a manifest of llama-gguf-hash"
    [ "$(grep -c ' Ok$' verdict)" = 13 ] || fail "13 lines of it"
    digest() { gguf hash --no-layer "$1" | grep "$2\$" | cut -d' ' -f3; }
    one=$(digest "$valid/split-whole.gguf" gguf)
    [ "$one" = "$(digest "$valid/split-00002-of-00003.gguf" gguf)" ] || fail "a split set has other data"
    one=$(digest "$valid/split-whole.gguf" model)
    [ "$one" = "$(digest "$valid/split-00002-of-00003.gguf" model)" ] || fail "a split set is another model"
fi

# Interrupted within a second, nothing left behind.
python3 - <<'E2'
# A sparse model of 64 GiB: one f32 tensor.
import struct
def s(t): return struct.pack("<Q", len(t)) + t.encode()
head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
head += s("general.architecture") + struct.pack("<I", 8) + s("none")
n = 16 << 30
head += s("big.weight") + struct.pack("<IQQIQ", 2, 1 << 20, n >> 20, 0, 0)
head += b"\0" * (-len(head) % 32)
with open("huge.gguf", "wb") as f:
    f.write(head)
    f.truncate(len(head) + 4 * n)
E2
gguf hash --no-layer -o half huge.gguf 2>err &
pid=$!
sleep 0.3
start=$(date +%s%N)
kill -INT $pid
wait $pid
[ $? = 130 ] || fail "interrupted: not 130"
[ $(($(date +%s%N) - start)) -lt 5000000000 ] || fail "slow to stop"
[ ! -e half ] || fail "a manifest of an interrupted run"
no_temporaries "$work"
