#!/bin/sh
# `make report`: the simulation first (it needs no libtorch, so there is a result within minutes), then set-up,
# the training runs, and an index of what there is. A stage that fails is named in the index, the later stages that
# do not need it still run, and the exit code is 1.
set -u
cd "$(dirname "$0")/.."
runs=reports/runs
failures=

# Ctrl-C reaches the stage itself, which saves what it has; this script then writes the index.
trap : INT TERM

stage() { # stage NAME COMMAND...: runs it, notes a failure
    name=$1
    shift
    echo "report: $name"
    "$@" && return 0
    code=$?
    how="failed (exit code $code); its last lines on the screen say what to do"
    case $code in 130 | 143) how='was interrupted' ;; esac
    failures="$failures
- **$name** $how. \`make report\` goes on from there."
    case $code in 130 | 143) finish "$code" ;; esac
    return 1
}

index() {
    mkdir -p "$runs"
    {
        echo '# Reports'
        echo
        echo 'Written by `make report`; newest results of each study.'
        echo
        for report in "$runs"/*/report.md; do
            [ -e "$report" ] || continue
            folder=${report#"$runs"/}
            title=$(sed -n 's/^# *//p' "$report" | head -n 1)
            echo "- [${title:-${folder%/report.md}}]($folder)"
        done
        if [ -n "$failures" ]; then
            printf '\n## Not complete\n\nIf a report is listed above for a stage that failed, it is from an earlier call.\n%s\n' "$failures"
        fi
    } >"$runs/README.md.partial" && mv "$runs/README.md.partial" "$runs/README.md"
}

finish() { # finish CODE: the index; exits with CODE if a stage failed
    index
    echo "report: the index is $runs/README.md"
    [ -z "$failures" ] && exit 0
    echo "report: not complete$failures" >&2
    exit "$1"
}

scripts/setup.sh --rust-only || exit 1
# shellcheck disable=SC2086 # the arguments are words
stage 'The simulation of the dual imbalance' cargo run --release --bin rescom-sim -- $SIM_ARGS
if stage 'The set-up of libtorch' scripts/setup.sh &&
    stage 'The build of the training program' cargo build --release --features train --bin rescom-repro; then
    # shellcheck disable=SC2086
    stage 'The training runs on Fashion-MNIST' cargo run --release --features train --bin rescom-repro -- \
        $REPRO_ARGS ${DATA:+--data "$DATA"}
fi
finish 1
