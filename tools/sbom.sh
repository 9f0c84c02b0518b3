#!/usr/bin/env bash
# Writes the bill of materials of our programs to standard output: every crate that Cargo.lock names, in CycloneDX's JSON. It is the
# lock file in another form and has no date in it, so the same sources give the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

awk '
    function value(line) { sub(/^[a-z]+ = "/, "", line); sub(/"$/, "", line); return line }
    function entry() {
        if (name == "") return
        purl = "pkg:cargo/" name "@" version
        printf "%s\n    {\"type\": \"library\", \"bom-ref\": \"%s\", \"name\": \"%s\", \"version\": \"%s\", \"purl\": \"%s\"", \
            separator, purl, name, version, purl
        if (checksum != "") printf ", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"%s\"}]", checksum
        printf "}"
        separator = ","
        name = ""; checksum = ""
    }
    BEGIN {
        print "{"
        print "  \"bomFormat\": \"CycloneDX\", \"specVersion\": \"1.5\", \"version\": 1,"
        print "  \"metadata\": {\"component\": {\"type\": \"application\", \"name\": \"dragnet\"}},"
        printf "  \"components\": ["
    }
    /^\[\[package\]\]/ { entry() }
    /^name = / { name = value($0) }
    /^version = / { version = value($0) }
    /^checksum = / { checksum = value($0) }
    END { entry(); print "\n  ]\n}" }
' Cargo.lock
