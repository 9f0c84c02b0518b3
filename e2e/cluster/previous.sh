#!/usr/bin/env bash
# The charts and the image of the commit before this one, for tests of upgrades. Before: of the twenty newest commits in history that have
# charts, the newest whose image was kept; when none was, the newest, whose programs are then built.
#
#   previous.sh FOLDER TARGET    puts `charts/` and `image.tar` into FOLDER and prints the image's name. TARGET is the folder that
#                                cargo builds this checkout in; what it has compiled is used again, and its programs stay.
#   previous.sh --keep PROGRAMS  makes an image of the programs in that folder and remembers it as this commit's, so that the next commit
#                                need not build it; not if anything differs from the commit
#
# Ends with 3 when there is no such commit.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/paths.sh"
cd "$root"
images=$cache/images kept=4
ours=(orchestrator scan-worker kv-server dragnet operator statsd-filter)
mkdir -p "$images"

is_clean() { [[ -z $(git status --porcelain) ]]; }
has_charts() { git cat-file -e "$1:charts/dragnet/Chart.yaml" 2>/dev/null; }

previous_commit() {
    local commit first= seen=0
    for commit in $(git rev-list --max-count=200 --skip=1 HEAD); do
        has_charts "$commit" || continue
        [[ -n $first ]] || first=$commit
        if [[ -e $images/$commit.tar ]]; then echo "$commit"; return; fi
        ((++seen < 20)) || break
    done
    [[ -n $first ]] || return 1
    echo "$first"
}

# Nothing that programs are made from has changed since a commit: those of this checkout are its own as well.
has_our_programs() { # COMMIT
    git diff --quiet "$1" -- . ':(exclude)*.md' ':(exclude)docs' ':(exclude)e2e' ':(exclude)charts' ':(exclude)bench' \
        ':(exclude)*/tests/*' ':(exclude)*/tests.rs' ':(exclude)xtask' ':(exclude)tools' ':(exclude)fuzz' ':(exclude).ci' ':(exclude)Makefile'
}

# Under its name only when it is whole.
image() { # PROGRAMS COMMIT
    "$here/image.sh" dragnet "$1" "dragnet.test/dragnet:$2" "$images/$2.new" >/dev/null
    mv "$images/$2.new" "$images/$2.tar"
}

# The programs of a commit, from a checkout of its own but with what was compiled here: foreign crates are the same.
build() ( # COMMIT TARGET
    if has_our_programs "$1"; then
        image "$2/release" "$1"
        exit
    fi
    work=$(mktemp -d "$cache/previous.XXXXXX")
    trap 'git worktree remove --force "$work/tree"; rm -rf "$work"' EXIT
    git worktree add --quiet --detach "$work/tree" "$1"
    mkdir "$work/ours" "$work/theirs"
    # cargo gives new files to its folder and leaves ours, which have a second name meanwhile.
    for program in "${ours[@]}"; do ln "$2/release/$program" "$work/ours/"; done
    (cd "$work/tree" && CARGO_TARGET_DIR=$2 cargo build --quiet --locked --release --workspace --bins) >&2
    for program in "${ours[@]}"; do
        ln "$2/release/$program" "$work/theirs/"
        ln -f "$work/ours/$program" "$2/release/$program"
    done
    image "$work/theirs" "$1"
)

if [[ ${1:-} == --keep ]]; then
    is_clean || exit 0
    commit=$(git rev-parse HEAD)
    # Older than the commit, they may not be its own.
    for program in "${ours[@]}"; do (($(stat -c %Y "$2/$program") >= $(git log -1 --format=%ct))) || exit 0; done
    [[ -e $images/$commit.tar ]] || image "$2" "$commit"
    find "$images" -name '*.tar' -printf '%T@ %p\n' | sort -rn | tail -n "+$((kept + 1))" | cut -d' ' -f2- | xargs -r rm -f
    exit 0
fi
[[ $# == 2 ]] || { sed -n '2,/^set/ { /^#/ s/^# \{0,1\}//p }' "$0"; exit 64; }
commit=$(previous_commit) || exit 3
[[ -e $images/$commit.tar ]] || build "$commit" "$2"
cp "$images/$commit.tar" "$1/image.tar"
git archive "$commit" charts | tar -x -C "$1"
tar -xOf "$1/image.tar" manifest.json | sed 's/.*"RepoTags":\["\([^"]*\)".*/\1/'
