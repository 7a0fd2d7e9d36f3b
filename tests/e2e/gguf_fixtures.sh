#!/usr/bin/env bash
# The gguf tool over the reference containers: exit codes, one line on stderr for what is
# refused and nothing on stdout, findings for what is odd.
set -u
fixtures=$TAMIS_SHARED/fixtures/gguf
[ -d "$fixtures" ] || { echo "skipped: no $fixtures"; exit 77; }
gguf=$TAMIS_BIN/gguf
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

# run EXIT ARGS...: the exit code must be EXIT; output in $tmp/out and $tmp/err.
run() {
  local want=$1; shift
  "$gguf" "$@" >"$tmp/out" 2>"$tmp/err"
  local rc=$?
  if [ $rc != "$want" ]; then
    echo "FAILED: gguf $*: exit $rc, expected $want: $(head -1 "$tmp/err")"
    failures=$((failures + 1))
  fi
}
# says FILE TEXT: the output holds the text.
says() {
  grep -qF -- "$2" "$tmp/$1" && return
  echo "FAILED: '$2' is not in $1: $(head -3 "$tmp/$1")"
  failures=$((failures + 1))
}

n=0
while IFS=$'\t' read -r file _; do
  [ "$file" = file ] && continue
  for command in show check; do
    run 3 $command "$fixtures/bad/$file"
    if [ "$(wc -l <"$tmp/err")" != 1 ] || [ -s "$tmp/out" ]; then
      echo "FAILED: $command $file: $(wc -l <"$tmp/err") lines on stderr, $(wc -c <"$tmp/out") bytes on stdout"
      failures=$((failures + 1))
    fi
  done
  n=$((n + 1))
done <"$fixtures/bad/README.tsv"
[ $n -ge 120 ] || { echo "FAILED: only $n bad files"; failures=$((failures + 1)); }

for file in "$fixtures"/valid/*.gguf; do
  run 0 show "$file"
done
run 0 check "$fixtures/valid/v3.gguf" "$fixtures/valid/be-v3.gguf"
says out "v3.gguf: ok"

odd=$fixtures/odd
run 1 check "$odd/inf-scale-q8_0.gguf"; says out "'a.weight': 1 non-finite block scale, the first in row 1, block 1"
run 1 check "$odd/nan-f32.gguf";        says out "'a.weight': 2 non-finite values, the first in row 0"
run 1 check "$odd/nan-scale-q4_K.gguf"; says out "row 0, block 0"
run 0 check --quick "$odd/nan-f32.gguf"; says out "values not read"
run 0 check "$odd/trailing-bytes.gguf"; says err "bytes after the last tensor"
run 0 check "$odd/ndims-0.gguf";        says err "n_dims 0"
run 3 check "$odd/tensor-name-empty.gguf"
run 0 show "$odd/type-unknown.gguf";    says out "type 99"
run 0 show "$odd/type-retired.gguf";    says out "retired 4"
run 0 show "$odd/type-unknown-last.gguf"; says out "unknown"
run 0 show "$odd/tensor-name-control.gguf"
if LC_ALL=C grep -q "$(printf '[\001-\010\013-\037]')" "$tmp/out"; then
  echo "FAILED: control characters reach the terminal"; failures=$((failures + 1))
fi
for file in architecture-unknown no-architecture merge-result-missing tensor-name-bad-utf8; do
  run 0 check "$odd/$file.gguf"
done

run 3 check "$odd/nan-f32.gguf" "$fixtures/bad/empty.gguf"   # the gravest outcome counts
run 0 show --json - "$fixtures/valid/v3.gguf"; says out '"byte_order":'
run 0 show --json "$tmp/v3.json" "$fixtures/valid/v3.gguf"; [ -s "$tmp/v3.json" ] || failures=$((failures + 1))
run 1 check --json - "$odd/nan-f32.gguf"; says out '"n_bad":'
cp "$fixtures/valid/v3.gguf" "$tmp/model.gguf"
run 2 show --json "$tmp/model.gguf" "$tmp/model.gguf"; says err 'already a file of this run'
run 2 check --json "$tmp/model.gguf" "$tmp/model.gguf"; says err 'already a file of this run'
cmp "$tmp/model.gguf" "$fixtures/valid/v3.gguf" || failures=$((failures + 1))
run 3 show "$tmp/missing.gguf";   says err "missing.gguf"
run 2 shwo x;                     says err "did you mean 'show'"
run 2 show
run 2 show --tensros x
run 0 --help
run 0 show --help;                says out "gguf show"
run 0 --version

[ $failures = 0 ] || { echo "$failures failures"; exit 1; }
echo "$n bad files refused, odd and valid ones read"
