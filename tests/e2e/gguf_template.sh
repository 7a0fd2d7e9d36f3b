#!/usr/bin/env bash
# gguf template: shown byte for byte, replaced, named, removed; never rendered.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
cp "$model" model.gguf
cp model.gguf t.gguf

# --- the bytes of the file, and back ---
gguf template t.gguf >old.jinja 2>err || fail "template"
[ ! -s err ] || fail "template says: $(cat err)"
python3 - <<'P' || fail "not the bytes of the file"
import struct
d, text = open("model.gguf", "rb").read(), open("old.jinja", "rb").read()
key = b"tokenizer.chat_template"
at = d.index(struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(text))) + 8 + len(key) + 12
assert text and d[at:at + len(text)] == text
P
printf '{%%- for m in messages %%}\r\n\t{{ 7 * 7 }} \xff\0\x1b[31m{%% endfor %%}' >new.jinja
gguf template t.gguf --set new.jinja >out.txt || fail "--set"
grep -q '^tokenizer.chat_template: str ' out.txt && grep -q '^t.gguf: rewritten' out.txt || fail "$(cat out.txt)"
! grep -q $'\033' out.txt || fail "control characters are printed"
gguf template t.gguf | cmp - new.jinja || fail "another template than was set"
gguf template -q t.gguf | cmp - new.jinja || fail "template -q is the template too"
gguf check t.gguf >/dev/null || fail "check"
gguf template -q t.gguf --set old.jinja >out.txt || fail "--set"
[ ! -s out.txt ] || fail "--set -q prints"
cmp t.gguf model.gguf || fail "set back is not the file that was"
: >empty
gguf template -q t.gguf --set empty || fail "an empty template"
[ -z "$(gguf template t.gguf)" ] || fail "the empty template is not empty"
gguf template -q t.gguf --set old.jinja
head -c 300000 /dev/urandom >large
gguf template -q t.gguf --set large || fail "a large template"
gguf template t.gguf | cmp - large || fail "the large template"
gguf template -q t.gguf --set old.jinja
cmp t.gguf model.gguf || fail "set back is not the file that was"

# --- on a terminal nothing steers it ---
gguf template -q t.gguf --set new.jinja
TERM=xterm python3 - gguf template t.gguf >screen <<'P' || fail "no terminal"
import os, pty, sys
pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 4096), lambda fd: b"")
P
! grep -q $'\033' screen || fail "an escape sequence reaches the terminal"
grep -qF '{{ 7 * 7 }} \xff' screen || fail "the terminal shows: $(cat -v screen)"
gguf template -q t.gguf --set old.jinja

# --- names ---
echo tools >tools.jinja
gguf template -q t.gguf --name tool_use --set tools.jinja || fail "--name --set"
gguf template -q t.gguf --name rag --set new.jinja || fail "--name --set"
gguf template t.gguf --name tool_use | cmp - tools.jinja || fail "--name"
gguf template t.gguf | cmp - old.jinja || fail "the default one changed"
gguf template t.gguf --list >list.txt || fail "--list"
printf '%-20s %8d bytes\n' '(default)' "$(stat -c %s old.jinja)" tool_use 6 rag "$(stat -c %s new.jinja)" |
    cmp - list.txt || fail "--list: $(cat list.txt)"
gguf show --no-tensors t.gguf | grep -q 'tokenizer.chat_templates .*2 x str \["tool_use", "rag"\]' || fail "names"
gguf template -q t.gguf --name tool_use --set old.jinja || fail "a named one again"
gguf show --no-tensors t.gguf | grep -q 'tokenizer.chat_templates .*2 x str \["tool_use", "rag"\]' || fail "names"
gguf template --json t.json t.gguf --list >/dev/null || fail "--json"
python3 - <<'P' || fail "--json: $(cat t.json)"
import json
j = json.load(open("t.json"))
assert [t["name"] for t in j["templates"]] == [None, "tool_use", "rag"]
assert j["templates"][0]["text"] == open("old.jinja").read()
assert bytes.fromhex(j["templates"][2]["text"]["hex"]) == open("new.jinja", "rb").read()
P
gguf template -q t.gguf --name tool_use --remove || fail "--name --remove"
gguf show --no-tensors t.gguf | grep -q 'tokenizer.chat_templates .*1 x str \["rag"\]' || fail "names"
gguf template -q t.gguf --name rag --remove || fail "--name --remove"
cmp t.gguf model.gguf || fail "named ones set and removed leave something"

# --- removed, copied, foretold ---
gguf template t.gguf --remove --dry-run >out.txt || fail "--dry-run"
grep -q -- '-> (absent)' out.txt && cmp -s t.gguf model.gguf || fail "--remove --dry-run"
gguf template -q t.gguf --remove -o none.gguf || fail "--remove -o"
cmp t.gguf model.gguf || fail "-o changes the source"
expect 3 "none.gguf: the model has no chat template" gguf template none.gguf
expect 3 "no chat template" gguf template none.gguf --remove
gguf template none.gguf --list >out.txt || fail "--list of none"
[ ! -s out.txt ] || fail "--list of none prints"
gguf template -q none.gguf --set old.jinja || fail "--set where none was"
gguf template none.gguf | cmp - old.jinja || fail "--set where none was"
gguf split -q --max-tensors 30 model.gguf part || fail "split"
gguf template -q part-00003-of-00003.gguf --set new.jinja || fail "--set of a set"
gguf template part-00002-of-00003.gguf | cmp - new.jinja || fail "--set of a set"
gguf template -q part-00001-of-00003.gguf --set old.jinja -o copy --shard-size 5M || fail "--shard-size"
gguf template copy-00001-of-00003.gguf | cmp - old.jinja || fail "--shard-size"

# --- mistakes ---
expect 3 "no chat template 'x'; --list" gguf template t.gguf --name x
expect 2 "exclude each other" gguf template t.gguf --set old.jinja --remove
expect 2 "exclude each other" gguf template t.gguf --list --remove
expect 2 "go with --set or --remove" gguf template t.gguf -o x.gguf
expect 2 "1 to 256 bytes" gguf template t.gguf --name ''
expect 2 "one model file" gguf template
expect 2 "one model file" gguf template t.gguf t.gguf
expect 3 "no-such" gguf template t.gguf --set no-such
expect 3 "no-such.gguf" gguf template no-such.gguf
expect 2 "already a file of this run" gguf template t.gguf --set old.jinja -o t.gguf
expect 2 "already a file of this run" gguf template t.gguf --set old.jinja -o old.jinja
cmp t.gguf model.gguf || fail "a mistake changed the file"
no_temporaries .
echo "templates walked"
