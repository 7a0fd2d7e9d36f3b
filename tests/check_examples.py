#!/usr/bin/env python3
"""Run the examples of pages and hold what they print against the page: check_examples.py PAGE...

An example is a line "$ command" in a ``` block; the lines below it, up to the next one, are what it
prints, on either stream. A line of "..." stands for lines left out, "..." at the end of a line for
its rest. Numbers may differ by 2 % (processors round differently), seconds and memory by anything.
The commands of all pages run one after another in the current folder. Exit status 1 when a line
does not come.
"""
import re
import subprocess
import sys

NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
# What depends on the machine: times, peak memory, and hashes of files that numbers end in.
MACHINE = [
    (re.compile(r"[0-9.]+ (?:ms|s|min|h)\b"), "T"),
    (re.compile(r"peak memory [0-9.]+ [kMG]?B"), "M"),
    (re.compile(r"\b[0-9a-f]{16,}\b"), "H"),
]


def examples(page):
    """(command, lines it prints) in order."""
    found, block, inside = [], None, False
    for line in open(page, encoding="utf-8"):
        line = line.rstrip()
        if line.startswith("```"):
            inside, block = not inside, None
        elif inside and line.startswith("$ "):
            block = []
            found.append((line[2:], block))
        elif block is not None:
            block.append(line)
    return found


def close(a, b):
    return abs(float(a) - float(b)) <= 0.02 * abs(float(b)) + 2e-6


def same(want, got):
    if want.endswith("...") and want.strip() != "...":
        got = got[:len(want) - 3]
        want = want[:-3]
    for pattern, mark in MACHINE:
        want, got = pattern.sub(mark, want), pattern.sub(mark, got)
    squeeze = [re.sub(r"\s+", " ", NUMBER.sub("0", s)).strip() for s in (want, got)]
    if squeeze[0] != squeeze[1]:
        return False
    return all(close(a, b) for a, b in zip(NUMBER.findall(want), NUMBER.findall(got)))


def check(page, command, lines):
    """Every line comes, in order on its stream; how the two streams mix is the terminal's doing."""
    run = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, check=False)
    left = [s.decode(errors="replace").splitlines() for s in (run.stdout, run.stderr)]
    for line in lines:
        if not line or line.strip() == "...":
            continue
        for stream, got in enumerate(left):
            ahead = next((i for i in range(len(got)) if same(line, got[i])), None)
            if ahead is not None:
                left[stream] = got[ahead + 1:]
                break
        else:
            print(f"{page}: $ {command}\n  does not print: {line}\n  but, from there on:")
            print("\n".join("    " + g for got in left for g in got[:6]))
            return False
    return True


def main():
    n, n_bad = 0, 0
    for page in sys.argv[1:]:
        for command, lines in examples(page):
            n += 1
            n_bad += not check(page, command, lines)
    print(f"{n} examples run, {n_bad} print something else")
    sys.exit(1 if n_bad or not n else 0)


main()
