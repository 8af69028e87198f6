#!/usr/bin/env python3
"""Finds words that this project has retired, in code, comments, documents and the page.

Prints file:line:word: what to write instead. CONTEXT.md explains the words that are in use.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Third-party, generated, recorded, history, or the instructions of the agent, whose text is behaviour.
SKIPPED = re.compile(
    r"^third_party/|^agents/|^web/dist/|^web/src/lib/api/|^crates/\w+/bindings/|/recordings/|^CHANGELOG\.md$|^tests/words/retired\.py$"
    r"|\.(lock|png|ico|woff2|patch|svg)$|package-lock\.json$"
)

# Retired in identifiers and in prose: the word, and what to write.
WORDS = {
    "corpse": "zombie",
    "crew": "agent roster",
    "deeds": "actions",
    "errand": "channel request",
    "fate": "follow outcome",
    "glance": "probe",
    "grave": "severity",
    "keeper": "retention worker",
    "ladder": "escalation",
    "mend": "fix",
    "mended": "fixed",
    "mends": "fixes",
    "nobody": "no one, nothing; or name what is absent",
    "outlet": "line shipper",
    "outlived": "is_gone",
    "pulse": "write probe",
    "rung": "step",
    "scribe": "event writer",
    "seat": "bastion session",
    "somebody": "someone, a person; or name the role",
    "station": "target handle",
    "told": "sent, reported, notified, by what is meant",
    "walls": "confinement",
    "warden": "agent gateway",
    "whoever": "anyone who, the person who, the process that",
    "wish": "action, request",
}

# Retired as the name of a type or of a path.
NAMES = {
    r"Board": "VitalsState",
    r"Door": "ChannelState",
    r"Family": "ProcessTree",
    r"Hub": "LiveStreams",
    r"Journal(?:Error)?": "Log, LogError",
    r"Launcher": "Spawner",
    r"Letter": "http message",
    r"Placing": "OperationRequest",
    r"Stranger": "NotInTree",
    r"breakglass[-_]journal|crates/journal": "breakglass-log, breakglass-model",
    r"doctor::": "readiness",
}

# Retired as phrases.
PHRASES = {
    r"asks? for leave|(?:much|no|without|more) leave": "permission",
    r"\ba look\b": "a probe, an observation",
    r"\bstands\b(?! for)": "is",
    r"\btells\b": "reports, prints, shows, by what is meant",
    r"\bthat which\b": "what, the one that",
    r"\b[Tt]he record\b": "the log",
    r"\bways? out\b": "outbound connection",
}

# Left alone: names that others chose, or that programs read.
ALLOWED = re.compile(
    r"""["'`=(]nobody\b|\bnobody:|[`"]outlet[`"]|outlet=|@keyframes pulse|animation:.*pulse|stands-in"""
    # The log's table, which is part of its format.
    r"|(?:TABLE|INTO|UPDATE) pulse\b"
)
ALLOWED_IN = {
    # A type of the crate prometheus-client.
    r"Family": r"metrics(?:\.rs$|/)",
    # The gate's own journal of a verb, and systemd's journal in the simulated machine.
    r"Journal(?:Error)?": r"^crates/gate/|^docs/gate\.md$|^crates/drill/src/machine/",
    # The module of the command `breakglass doctor`.
    r"doctor::": r"^crates/breakglass/src/cli/",
}


# A part of an identifier or a word of prose: `errand`, `Errand` in `ErrandError`, `ERRAND` in `MAX_ERRANDS`.
PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
FORMS = {form + end: instead for word, instead in WORDS.items()
         for form, ends in ((word, ("", "s")), (word.capitalize(), ("", "s")), (word.upper(), ("", "S"))) for end in ends}
RULES = [(re.compile(rf"\b(?:{name})(?![a-z])"), name, instead) for name, instead in NAMES.items()]
RULES += [(re.compile(phrase), phrase, instead) for phrase, instead in PHRASES.items()]


def retired(path, line):
    """Each retired word of a line, with what to write instead."""
    if path == "CONTEXT.md":
        line = line.rsplit(" | ", 1)[0]  # its last column says what not to write
    line = ALLOWED.sub(lambda found: " " * len(found.group()), line)
    for part in PART.findall(line):
        if part in FORMS:
            yield part, FORMS[part]
    for rule, key, instead in RULES:
        if re.search(ALLOWED_IN.get(key, r"^$"), path):
            continue
        for found in rule.finditer(line):
            yield found.group(), instead


def main():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    count = 0
    for path in filter(None, listed.split("\0")):
        if SKIPPED.search(path):
            continue
        try:
            text = (ROOT / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        if FORMS.keys().isdisjoint(PART.findall(text)) and not any(rule.search(text) for rule, _, _ in RULES):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            for word, instead in retired(path, line):
                print(f"{path}:{number}:{word}: {instead}")
                count += 1
    if count:
        print(f"words: {count} retired words; write what is suggested, or what is meant", file=sys.stderr)
    return 1 if count else 0


sys.exit(main())
