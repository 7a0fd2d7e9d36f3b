#!/usr/bin/env bash
# gguf set and unset: every kind of value, in place and rewritten, tensor bytes and key order kept,
# what must not be changed, what cannot be read, split models, copies. A Python reader of its own
# looks at the results, so that not only Tamis judges Tamis.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
cp "$model" model.gguf
cat >read.py <<'P'
"""keys(path): [(key, kind, value)] in file order; data(path): {tensor: bytes}."""
import math, struct
SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
NAMES = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "str",
         9: "arr", 10: "u64", 11: "i64", 12: "f64"}
class Reader:
    def __init__(self, path):
        self.d, self.p = open(path, "rb").read(), 24
        self.n_tensors, n_kv = struct.unpack_from("<QQ", self.d, 8)
        self.kv = []
        for _ in range(n_kv):
            key = self.string().decode()
            kind = self.take("I")
            if kind == 9:
                elem, n = self.take("I"), self.take("Q")
                self.kv.append((key, "arr[%s]" % NAMES[elem], [self.value(elem) for _ in range(n)]))
            else:
                self.kv.append((key, NAMES[kind], self.value(kind)))
    def take(self, code):
        v, = struct.unpack_from("<" + code, self.d, self.p)
        self.p += struct.calcsize("<" + code)
        return v
    def string(self):
        n = self.take("Q")
        self.p += n
        return self.d[self.p - n:self.p]
    def value(self, kind):
        return self.string() if kind == 8 else self.take(SIZES[kind])
    def tensors(self):
        infos = []
        for _ in range(self.n_tensors):
            name, n = self.string().decode(), self.take("I")
            ne = [self.take("Q") for _ in range(n)]
            infos.append((name, tuple(ne), self.take("I"), self.take("Q")))
        a = dict((k, v) for k, _, v in self.kv).get("general.alignment", 32)
        start = (self.p + a - 1) // a * a
        out = []
        for name, ne, kind, offset in infos:
            n = math.prod(ne) * {0: 4, 1: 2, 30: 2}[kind]
            out.append((name, ne, kind, self.d[start + offset:start + offset + n]))
        return out
def keys(path):
    return Reader(path).kv
def data(path):
    return Reader(path).tensors()
P
# kept A B KEY...: both files hold the same tensors, and the same keys in the same order but KEY....
kept() {
    python3 - "$@" <<'P' || fail "more changed than $*"
import sys
from read import keys, data
a, b, changed = sys.argv[1], sys.argv[2], sys.argv[3:]
assert data(a) == data(b), "tensors"
rest = [[k for k in keys(p) if k[0] not in changed] for p in (a, b)]
assert rest[0] == rest[1], "other keys"
order = [[k[0] for k in keys(p)] for p in (a, b)]
assert [k for k in order[0] if k in order[1]] == [k for k in order[1] if k in order[0]], "order"
P
}
# is FILE KEY KIND PYTHON-VALUE: what the reader finds; KIND None for an absent key.
is() {
    python3 - "$@" <<'P' || fail "not so: $*"
import sys
from read import keys
found = {k: (kind, v) for k, kind, v in keys(sys.argv[1])}.get(sys.argv[2], (None, None))
want = (None if sys.argv[3] == "None" else sys.argv[3], eval(sys.argv[4]))
assert found == want, "%r, expected %r" % (found, want)
P
}
# --- every kind; then without a type: the kind of the key, or the one that the format fixes ---
printf 'text\0with NUL\n' >value.txt
printf '1,\n2,\n3\n' >list.txt
printf '["p", "q"]\n' >list.json
echo 42 >number.txt
python3 - <<'P' || fail "values"
import shutil, subprocess
from read import Reader
old = Reader("model.gguf")
old_tensors = old.tensors()
tokens = dict((k, v) for k, _, v in old.kv)["tokenizer.ggml.tokens"]
ROWS = [ # key, what is assigned, kind and value that are found then
    ('x.v', 'u8:255', 'u8', 255),
    ('x.v', 'i8:-128', 'i8', -128),
    ('x.v', 'u16:65535', 'u16', 65535),
    ('x.v', 'i16:-32768', 'i16', -32768),
    ('x.v', 'u32:4294967295', 'u32', 4294967295),
    ('x.v', 'i32:-2147483648', 'i32', -2147483648),
    ('x.v', 'u64:18446744073709551615', 'u64', 18446744073709551615),
    ('x.v', 'i64:-9223372036854775808', 'i64', -9223372036854775808),
    ('x.v', 'f32:0.1', 'f32', 0.10000000149011612),
    ('x.v', 'f64:0.1', 'f64', 0.1),
    ('x.v', 'bool:true', 'bool', True),
    ('x.v', 'bool:0', 'bool', False),
    ('x.v', 'str:a=b:c "d"', 'str', b"a=b:c \"d\""),
    ('x.v', 'str:', 'str', b""),
    ('x.v', 'str:@@home', 'str', b"@home"),
    ('x.v', 'int:7', 'u32', 7),
    ('x.v', 'int:-7', 'i64', -7),
    ('x.v', 'float:1.5', 'f32', 1.5),
    ('x.v', 'arr[i32]:1, -2 ,3', 'arr[i32]', [1, -2, 3]),
    ('x.v', 'arr[u64]:18446744073709551615', 'arr[u64]', [18446744073709551615]),
    ('x.v', 'arr[f32]:0.5,2', 'arr[f32]', [0.5, 2.0]),
    ('x.v', 'arr[bool]:true,false,1', 'arr[bool]', [True, False, True]),
    ('x.v', 'arr[str]:a, b', 'arr[str]', [b"a", b" b"]),
    ('x.v', 'arr[str]:', 'arr[str]', []),
    ('x.v', 'arr[u8]:[1,2]', 'arr[u8]', [1, 2]),
    ('x.v', 'json:["a,b","\\u00e9"]', 'arr[str]', [b"a,b", "é".encode()]),
    ('x.v', 'json:[1,-2]', 'arr[i32]', [1, -2]),
    ('x.v', 'json:[1,4294967296]', 'arr[i64]', [1, 4294967296]),
    ('x.v', 'json:[1,2.5]', 'arr[f32]', [1.0, 2.5]),
    ('x.v', 'json:[true]', 'arr[bool]', [True]),
    ('x.v', 'json:"two\\nlines"', 'str', b"two\nlines"),
    ('x.v', 'str:@value.txt', 'str', b"text\0with NUL\n"),
    ('x.v', 'arr[u16]:@list.txt', 'arr[u16]', [1, 2, 3]),
    ('x.v', 'json:@list.json', 'arr[str]', [b"p", b"q"]),
    ('x.v', 'u8:@number.txt', 'u8', 42),
    ('general.name', 'Other name', 'str', b"Other name"),
    ('general.url', 'https://example.org/x:y', 'str', b"https://example.org/x:y"),
    ('general.tags', '["a","b"]', 'arr[str]', [b"a", b"b"]),
    ('general.languages', 'en,de', 'arr[str]', [b"en", b"de"]),
    ('general.sampling.top_k', '40', 'i32', 40),
    ('general.sampling.temp', '0.5', 'f32', 0.5),
    ('general.base_model.0.name', 'base', 'str', b"base"),
    ('general.file_type', '15', 'u32', 15),
    ('qwen3.context_length', '512', 'u32', 512),
    ('qwen3.rope.freq_base', '10000', 'f32', 10000.0),
    ('qwen3.rope.scaling.factor', '2', 'f32', 2.0),
    ('tokenizer.ggml.add_bos_token', 'true', 'bool', True),
    ('tokenizer.ggml.add_eos_token', 'false', 'bool', False),
    ('tokenizer.ggml.pre', 'llama-bpe', 'str', b"llama-bpe"),
    ('tokenizer.ggml.eot_token_id', '3', 'u32', 3),
    ('tokenizer.ggml.suppress_tokens', '1,2', 'arr[i32]', [1, 2]),
    ('tokenizer.chat_template.x', '{{ y }}', 'str', b"{{ y }}"),
    ('tokenizer.ggml.eos_token_id', 'token:<|endoftext|>', 'u32', 8184),
    ('tokenizer.ggml.eos_token_id', 'token:!', 'u32', tokens.index(b"!")),
]
for key, text, kind, value in ROWS:
    shutil.copyfile("model.gguf", "t.gguf")
    done = subprocess.run(["gguf", "set", "-q", "t.gguf", key + "=" + text], capture_output=True)
    assert done.returncode == 0, (key, text, done.stderr)
    assert not done.stdout and not done.stderr, (key, text, done.stdout, done.stderr)
    new = Reader("t.gguf")
    found = [(k, v) for name, k, v in new.kv if name == key]
    assert found == [(kind, value)], (key, text, found)
    # Nothing else changes: the other keys in their order, and the tensors.
    assert [r for r in new.kv if r[0] != key] == [r for r in old.kv if r[0] != key], (key, text)
    names = [r[0] for r in old.kv]
    assert [r[0] for r in new.kv] == (names if key in names else names + [key]), (key, text)
    assert new.tensors() == old_tensors, (key, text)
P
no_temporaries .

# --- what is refused, and changes nothing ---
cp model.gguf t.gguf
refused() { # PATTERN ASSIGNMENT...
    local pattern=$1
    shift
    expect 2 "$pattern" gguf set t.gguf "$@"
    cmp -s t.gguf model.gguf || fail "refused, but written: $*"
}
refused "give the kind of its value" x.v=5
refused "is not KEY=" general.name
refused "is not KEY=" =5
refused "at least one KEY=VALUE"
refused "out of range; 0 to 255" x.v=u8:256
refused "out of range; -128 to 127" x.v=i8:-129
refused "not a whole number" x.v=u32:1.5
refused "below 2\^64" x.v=u64:18446744073709551616
refused "not a number" x.v=f32:nan
refused "not a number" x.v=f64:1e999
refused "out of range" x.v=f32:1e39
refused "not a bool" x.v=bool:yes
refused "element 1.*out of range" 'x.v=arr[u8]:1,999'
refused "an empty list has no kind" 'x.v=json:[]'
refused "element 1 is not" 'x.v=json:[1,"a"]'
refused "a JSON list, number" 'x.v=json:{"a":1}'
refused "key 'x.v'" 'x.v=json:[1,'
refused "none of the 8192 tokens is '<nothing>'" 'tokenizer.ggml.eos_token_id=token:<nothing>'
refused "eos_token_id' is out of range: 0 to 8191" tokenizer.ggml.eos_token_id=8192
refused "'general.name' must be a string" general.name=u32:3
refused "'general.name' must be a string" general.url=x general.name=u32:3
refused "token_type' has 2 values for 8192" --force tokenizer.ggml.token_type=1,1
refused "unknown token type" "tokenizer.ggml.token_type=arr[i32]:$(yes 9 | head -8192 | paste -sd,)"
refused "it counts the layers" qwen3.block_count=7
refused "layer 5 of 5 is out of range" --force qwen3.block_count=5
refused "shapes of the tensors" qwen3.embedding_length=128
refused "lay files out with 32" general.alignment=64
refused "power of two" --force general.alignment=24
refused "must be a u32" --force general.alignment=u64:64
refused "names of keys and tensors" general.architecture=llama
refused "other tokens" 'tokenizer.ggml.merges=["a b"]'
refused "there are no 3 files" split.count=3
refused "there are no 3 files" --force split.count=3
refused "for a copy" --shard-size 1M general.name=x
expect 3 "'@@' begins a text with @" gguf set t.gguf general.name=@no-such-file
expect 2 "already a file of this run" gguf set t.gguf general.name=@value.txt -o value.txt
expect 2 "already a file of this run" gguf set t.gguf general.name=@value.txt --json value.txt
expect 3 "no-such.gguf" gguf set no-such.gguf general.name=x
expect 4 "of memory are needed" gguf set --mem 1K t.gguf general.name=x
chmod 444 t.gguf
[ -w t.gguf ] || expect 4 "cannot write" gguf set t.gguf general.name=x
chmod 644 t.gguf
cmp -s t.gguf model.gguf || fail "refused, but written"

# --- in place: the same file, the bytes of the value alone ---
inode() { stat -c %i "$1"; }
differing() { cmp -l "$1" "$2" | wc -l; }
cp model.gguf t.gguf
before=$(inode t.gguf)
gguf set t.gguf tokenizer.ggml.add_bos_token=true qwen3.context_length=300 >out.txt || fail "set"
grep -q "^t.gguf: changed in place" out.txt || fail "not in place: $(cat out.txt)"
grep -q "^tokenizer.ggml.add_bos_token: bool false -> bool true" out.txt || fail "$(cat out.txt)"
[ "$(inode t.gguf)" = "$before" ] || fail "in place gives another file"
[ "$(differing t.gguf model.gguf)" -le 5 ] || fail "in place changes more than the values"
kept model.gguf t.gguf tokenizer.ggml.add_bos_token qwen3.context_length
is t.gguf qwen3.context_length u32 300
gguf set -q t.gguf 'general.name=Tiny QwenX' >out.txt || fail "set" # same length
[ "$(inode t.gguf)" = "$before" ] || fail "a string of the same length is not written in place"
gguf set t.gguf 'general.name=Tiny QwenX' >out.txt || fail "set the same again"
grep -q "unchanged" out.txt || fail "$(cat out.txt)"
gguf set t.gguf 'general.name=Longer name' >out.txt || fail "set"
grep -q "rewritten" out.txt || fail "$(cat out.txt)"
[ "$(inode t.gguf)" != "$before" ] || fail "a longer value was written in place"
long=$(printf 'x%.0s' $(seq 2000))
gguf set -q t.gguf "general.description=$long" || fail "set"
before=$(inode t.gguf)
gguf set -q t.gguf "general.description=$(echo "$long" | tr x y)" || fail "set"
[ "$(inode t.gguf)" != "$before" ] || fail "a change over several sectors was made in place"

# --- --dry-run shows both sides, and writes nothing ---
cp model.gguf t.gguf
gguf set --dry-run t.gguf general.name=New x.y=u8:1 >out.txt || fail "--dry-run"
printf '%s\n' 'general.name: str "Tiny Qwen3" -> str "New"' 'x.y: (absent) -> u8 1' \
    't.gguf: would be rewritten' | cmp - out.txt || fail "--dry-run: $(cat out.txt)"
gguf set --dry-run t.gguf general.name=New -o copy.gguf >out.txt || fail "--dry-run -o"
[ ! -e copy.gguf ] && cmp -s t.gguf model.gguf || fail "--dry-run writes"
grep -q "^copy.gguf: 68 tensors, $(($(stat -c %s model.gguf))) bytes" out.txt || fail "$(cat out.txt)"
gguf set -q --json set.json t.gguf general.name=New x.y=u8:1 || fail "--json"
python3 - <<'P' || fail "set --json: $(cat set.json)"
import json
j = json.load(open("set.json"))
assert j["way"] == "rewritten" and not j["dry_run"] and len(j["files"]) == 1 and j["file"] == "t.gguf"
assert j["changes"] == [
    {"key": "general.name", "before": {"type": "str", "value": "Tiny Qwen3"},
     "after": {"type": "str", "value": "New"}},
    {"key": "x.y", "before": None, "after": {"type": "u8", "value": 1}}], j
P

# --- unset ---
cp model.gguf t.gguf
gguf set -q t.gguf x.y=u8:1 x.z=str:z || fail "set"
gguf unset -q t.gguf x.z x.y || fail "unset"
cmp t.gguf model.gguf || fail "unset after set is not the file that was"
expect 2 "no key 'general.nmae' \(did you mean 'general.name'\?\)" gguf unset t.gguf general.nmae
expect 2 "at least one key" gguf unset t.gguf
gguf unset -q --lax t.gguf general.nmae || fail "--lax"
gguf unset -q --ignore-missing t.gguf general.nmae || fail "--ignore-missing"
cmp t.gguf model.gguf || fail "nothing to remove, but written"
for k in general.architecture qwen3.block_count tokenizer.ggml.tokens; do
    expect 2 "is not free to change" gguf unset t.gguf $k
done
gguf unset -q t.gguf general.name || fail "unset"
is t.gguf general.name None None
kept model.gguf t.gguf general.name

# --- copies ---
cp model.gguf t.gguf
gguf set -q t.gguf general.name=Copy -o copy.gguf || fail "-o"
cmp t.gguf model.gguf || fail "-o changes the source"
is copy.gguf general.name str 'b"Copy"'
kept model.gguf copy.gguf general.name
expect 2 "already a file of this run" gguf set t.gguf general.name=x -o ./t.gguf
gguf set -q t.gguf general.name=Copy -o copy --shard-size 5M || fail "--shard-size"
gguf merge -q copy-00001-of-0000?.gguf whole.gguf || fail "merge"
cmp whole.gguf copy.gguf || fail "a copy in parts is not the copy"

# --- split models: only the first file is touched ---
gguf split -q --max-tensors 30 model.gguf part || fail "split"
cp part-00002-of-00003.gguf second; cp part-00003-of-00003.gguf third
gguf set -q part-00002-of-00003.gguf general.name=Parts || fail "set of a set"
gguf set -q part-00001-of-00003.gguf tokenizer.ggml.add_bos_token=true || fail "set of a set"
cmp second part-00002-of-00003.gguf && cmp third part-00003-of-00003.gguf || fail "other parts changed"
gguf merge -q part-00001-of-00003.gguf merged.gguf || fail "merge"
is merged.gguf general.name str 'b"Parts"'
kept model.gguf merged.gguf general.name tokenizer.ggml.add_bos_token
expect 2 "ties the 3 files" gguf set --force part-00001-of-00003.gguf split.count=1
expect 2 "ties the 3 files" gguf unset --force part-00001-of-00003.gguf split.count
gguf set -q part-00001-of-00003.gguf general.name=One -o one.gguf || fail "-o of a set"
is one.gguf split.count None None
kept model.gguf one.gguf general.name tokenizer.ggml.add_bos_token

# --- alignment is laid out anew; other containers ---
cp model.gguf t.gguf
gguf set -q --force t.gguf general.alignment=128 || fail "alignment"
gguf check t.gguf >/dev/null || fail "alignment 128"
is t.gguf general.alignment u32 128
python3 - <<'P' || fail "alignment: tensors"
from read import data
assert data("t.gguf") == data("model.gguf")
P
gguf unset -q --force t.gguf general.alignment || fail "alignment"
cmp t.gguf model.gguf || fail "alignment and back"
head -c 3000 "$evaluation" >text.txt
imatrix -q -m model.gguf -f text.txt -c 64 --chunks 1 -o im.gguf >/dev/null || fail "imatrix"
gguf set -q im.gguf x.note=str:mine || fail "set of an imatrix file"
gguf check im.gguf >/dev/null || fail "imatrix file"
fixtures=${TAMIS_SHARED:-}/fixtures/gguf
if [ -d "$fixtures" ]; then
    cp "$fixtures/valid/be-v3.gguf" be.gguf
    cp "$fixtures/valid/le-v3.gguf" le.gguf
    chmod 644 be.gguf le.gguf
    gguf set -q be.gguf x.note=str:a || fail "big-endian"
    gguf set -q le.gguf x.note=str:a || fail "little-endian"
    cmp be.gguf le.gguf || fail "a big-endian file is not written little-endian"
    for f in "$fixtures"/bad/*.gguf; do
        expect 3 . gguf set "$f" general.name=x -o never.gguf
        [ ! -e never.gguf ] || fail "$f was copied"
    done
    cp "$fixtures/valid/split-count-zero.gguf" zero.gguf
    chmod 644 zero.gguf
    gguf unset -q --lax zero.gguf split.no split.count split.tensors.count || fail "leavings of a merge"
    is zero.gguf split.count None None
fi

# --- killed: the file is the old one or the new one ---
cp model.gguf t.gguf
gguf set -q t.gguf general.name=Killed -o new.gguf || fail "set"
for i in 1 2 3 4 5 6; do
    cp model.gguf t.gguf
    gguf set -q t.gguf general.name=Killed &
    pid=$!
    sleep "0.00$i"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    cmp -s t.gguf model.gguf || cmp -s t.gguf new.gguf || fail "a killed run leaves half a file"
done
gguf set -q t.gguf general.name=Last || fail "set after kills"
no_temporaries .
peer=${TAMIS_PEER:-}/llama-quantize
[ -x "$peer" ] || { echo "set and unset walked"; exit 0; }
"$peer" --dry-run merged.gguf Q8_0 >peer.txt 2>&1 || fail "llama-quantize does not load what set wrote"
echo "set and unset walked; llama-quantize loads the result"
