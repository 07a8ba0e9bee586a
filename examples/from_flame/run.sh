#!/usr/bin/env bash
# Flame's tutorial "MNIST in non-orchestration mode" with swarm: people bring data and compute of their own.
#
#     run.sh [WORKDIR]         what it makes stays in WORKDIR; without one nothing stays
#
# Four hospitals with a CA each on 127.0.0.1: the first has the network node and an operator, and its author writes the
# task; of the others each takes part with its own certificate and state directory. Rows: README.md.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v swarm >/dev/null || PATH="$HERE/../../.venv/bin:$PATH"
KEPT=${1:-}
WORK=${1:-$(mktemp -d)}
mkdir -p "$WORK"
WORK=$(cd "$WORK" && pwd)
export XDG_STATE_HOME="$WORK/state"
NODES="$WORK/state/swarm"
PASSED=0

finish() {
    code=$?
    trap - EXIT
    trap '' INT TERM
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
    wait
    timeout 60 stop-swarm --keep >"$WORK/stopped" 2>&1 || true
    [ -n "$KEPT" ] || rm -rf "$WORK"
    [ $code = 0 ] && echo "$PASSED passed, 0 failed" || echo "$PASSED passed, 1 failed"
    exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

ok() { PASSED=$((PASSED + 1)) && echo "ok $1 $2"; }
fail() { echo "failed: $*"; exit 1; }
is() { [ "$1" = "$2" ] || fail "found '$1', expected '$2'"; }
has() { case "$1" in *"$2"*) ;; *) fail "found '$1', expected something with '$2'" ;; esac; }
say() { echo "\$ $*" && "$@"; }
look() { python "$HERE/look.py" "$@"; }

# MEMBER: the flags of a member of hospital N with a certificate of this role.
member() {
    MEMBER=(--key "$WORK/org-$1/$2-$1-key.pem" --cert "$WORK/org-$1/$2-$1-cert.pem" --capath "$WORK/org-$1/ca/capath")
}
author() { member 1 swci && say swarm "$@" --sn-ip 127.0.0.1 --sn-api-port "$PORT" "${MEMBER[@]}"; }
asked() { member 1 swci && swarm "$@" --json --sn-ip 127.0.0.1 --sn-api-port "$PORT" "${MEMBER[@]}"; }
refused() { # WORDS COMMAND...: it ends with an error that has these words
    words=$1 && shift
    case $1 in author) ;; *) echo "\$ $*" ;; esac
    said=$("$@" 2>&1) && fail "was not refused: $*" || true
    echo "$said" | grep -e '^error:' -e '^\$ ' || true
    is "$(echo "$said" | grep -c '^error:')" 1
    has "$said" "$words"
}
# PARTICIPANT: the command of NAME of HOSPITAL for TASK, with MORE flags, and a state directory of its own.
participant() {
    member "$2" sl
    PARTICIPANT=(swarm join "$3" --role trainer --data "$WORK/data/$1" --state "$WORK/$1" --sl-fs-port 0
        --sn-ip 127.0.0.1 --sn-api-port "$PORT" --key-file "$WORK/$1.key" "${MEMBER[@]}" "${@:4}")
}
begin() { # as for participant: in the background; its process is $! then
    participant "$@"
    echo "\$ ${PARTICIPANT[*]} &"
    "${PARTICIPANT[@]}" --json >"$WORK/$1.json" 2>>"$WORK/output" &
}
waiting() { # WHAT COMMAND...: until the command succeeds, for a minute at most
    what=$1 && shift
    deadline=$((SECONDS + 60))
    while [ $SECONDS -lt $deadline ]; do
        if "$@"; then return; fi
        read -rt 0.2 <> <(:) || true # between two looks
    done
    fail "$what did not come about; the end of the output: $(tail -20 "$WORK/output")"
}
round_of() { python "$HERE/last.py" "$WORK/$1/report.jsonl" round round; }
merges_again() { python "$HERE/rejoined.py" "$WORK/$1/report.jsonl" >"$WORK/$1.rejoined"; }
round_after() { [ "$(round_of "$1")" -gt "$2" ]; }
state_is() { [ "$(asked status "$1" | look "$2")" = "$3" ]; }
log_has() { grep -q "$1" "$WORK/output"; }

echo "== four hospitals, a network node and an operator"
for number in 1 2 3 4; do say gen-cert -i $number --org hospital-$number --out "$WORK/org-$number" --json; done
for one in 1 2 3 4; do
    for other in 1 2 3 4; do
        [ $one = $other ] || cp "$WORK/org-$other/ca/capath/ca-$other-cert.pem" "$WORK/org-$one/ca/capath/"
    done
done
say python "$HERE/split.py" "$WORK/data" alice bob carol
mkdir "$WORK/data/operator" && cp -R "$HERE/code" "$WORK/code" && cp "$HERE/task.yaml" "$WORK"
for name in alice bob carol mallory; do head -c 32 /dev/urandom >"$WORK/$name.key" && chmod 600 "$WORK/$name.key"; done
sed "s|<CERTS>|$WORK/org-1|; s|<DATA>|$WORK/data/operator|" "$HERE/profile.yaml" >"$WORK/profile.yaml"
member 1 sn
say run-sn -d --sentinel --host-ip 127.0.0.1 --sn-p2p-port 0 --sn-api-port 0 "${MEMBER[@]}"
PORT=$(look api_port <"$NODES/sn-1/ready.json")
member 1 swop
say run-swop -d --usr-dir "$WORK" --profile-file-name profile.yaml --sn-ip 127.0.0.1 --sn-api-port "$PORT" "${MEMBER[@]}"

echo "== what is wrong with a task is said before there is one"
mkdir -p "$WORK/wrapped/code" "$WORK/half/aggregator" && cp -R "$HERE"/code/* "$WORK/wrapped/code"
cp "$HERE/code/aggregator/main.py" "$WORK/half/aggregator"
sed 's/^  Code: code/  Code: wrapped/' "$WORK/task.yaml" >"$WORK/wrapped.yaml"
sed 's/^  Code: code/  Code: half/' "$WORK/task.yaml" >"$WORK/half.yaml"
refused "runs trainer/main.py, and the code half holds no such file" author run -f "$WORK/half.yaml"
refused "one folder too deep" author run -f "$WORK/wrapped.yaml"
ok A-03 "code without a role's folder, and code one folder too deep, are refused"
sed '/Needs:/d; s/Between: .*\]/Between: [trainer, trainer]/' "$WORK/task.yaml" >"$WORK/unconnected.yaml"
refused "no channel leads from" author run -f "$WORK/unconnected.yaml"
ok A-21 "a graph that is not connected is refused"
is "$(asked task ls | look tasks)" "[]"

echo "== a task"
author task create "$WORK/task.yaml"
asked status digits >"$WORK/task.json"
is "$(look name task.Author state slots <"$WORK/task.json" | paste -s -d ' ')" "digits alice draft []"
is "$(look task.Body.Description <"$WORK/task.json")" "handwritten digits of several hospitals"
author task ls
sed 's/^Name: .*/Name: other/' "$WORK/task.yaml" >"$WORK/other.yaml"
author task create "$WORK/other.yaml" && author task rm other
is "$(asked task ls | look tasks.0.name)" digits
ok A-01 "a named and described task is made, listed, shown and deleted"
is "$(look task.Body.Channels.0.Between.0 task.Body.Roles.1.Needs.0 <"$WORK/task.json" | paste -s -d ' ')" "trainer trainer"
ok A-02 "its roles and channels are part of it"
refused "task digits is a draft: only a final task can be started" author task start digits
author task finalize digits | tee "$WORK/said"
has "$(cat "$WORK/said")" "task digits (id 1) is ready: final"
asked status digits >"$WORK/task.json"
is "$(look id state message <"$WORK/task.json" | paste -s -d ' ')" "1 final ready: waits to be started"
ok A-04 "it has an id, and is ready"
is "$(look started ended <"$WORK/task.json" | paste -s -d -)" "-"
has "$(look created <"$WORK/task.json")" "Z"
ok A-05 "times that have not come are unset"
is "$(look slots.0.role slots.1.role slots.2.role slots.3.role <"$WORK/task.json" | sort | uniq -c | tr -s ' ' | paste -s -d,)" \
    " 1 aggregator, 3 trainer"
ok A-06 "there is a slot for each trainer and one for the aggregator"

echo "== participants, before the start and after it"
TASK=digits
participant alice 2 $TASK
refused "would run python trainer/main.py" "${PARTICIPANT[@]}"
TRUST=$("${PARTICIPANT[@]}" --json 2>>"$WORK/output" | look error.hint | sed -n 's/.*--trust \(sha256:[0-9a-f]*\).*/\1/p') || true
has "$TRUST" sha256:
is "$(asked status digits | look slots.0.state)" waiting
begin alice 2 $TASK --trust "$TRUST"
ALICE=$!
waiting "that alice waits" log_has "waits for its start (swarm task start digits); 1 more trainer (1 of 2 joined)"
is "$(ls "$WORK"/alice/code/*-trainer | paste -s -d ' ')" "digits.py trainer"
ok A-08 "a participant sees author and hash, and is given the code of its role alone"
asked status digits >"$WORK/task.json"
is "$(look slots.0.state slots.0.swop slots.1.state slots.3.state <"$WORK/task.json" | paste -s -d ' ')" \
    "assigned sl-2 (hospital-2) waiting waiting"
ok A-07 "slots of participants are nobody's until somebody joins"
begin bob 3 $TASK --trust "$TRUST"
BOB=$!
waiting "that bob waits" log_has "waits for its start (swarm task start digits), "
is "$(asked status digits | look state slots.0.state slots.1.state started | paste -s -d ' ')" "final assigned assigned "
author task start $TASK
ok A-10 "who joins before the start waits for it, and says for whom"
waiting "the first rounds" round_after bob 2
begin carol 4 $TASK --file "$WORK/task.yaml"
CAROL=$!
waiting "carol's first rounds" round_after carol 1
[ "$(round_of carol)" -gt 2 ] || fail "carol began with round $(round_of carol)"
ok A-11 "who joins later takes part in the round under way, here by her own copy of the task"
asked status digits >"$WORK/task.json"
is "$(look state slots.0.state slots.1.state slots.2.state slots.3.state <"$WORK/task.json" | uniq)" running
ok A-13 "the table shows them running"

echo "== killed, and joined again"
cp "$WORK/mallory.key" "$WORK/bob.other"
participant bob 3 $TASK --trust "$TRUST" --key-file "$WORK/bob.other" --state "$WORK/bob-elsewhere"
refused "is sl-3 (hospital-3)'s under another key" "${PARTICIPANT[@]}"
participant mallory 1 $TASK --data "$WORK/data/bob" --trust "$TRUST" --key-file "$WORK/bob.key"
refused "is another certificate" "${PARTICIPANT[@]}"
is "$(asked status digits | look slots.1.swop slots.1.attempt | paste -s -d ' ')" "sl-3 (hospital-3) 1"
ok A-09 "the first key and certificate have the slot: neither another key nor another certificate gets it"
say kill -9 "$BOB"
wait "$BOB" 2>/dev/null || true
BEFORE=$(round_of bob)
begin bob 3 $TASK --trust "$TRUST"
BOB=$!
waiting "that bob merges again" merges_again bob
read -r AGAIN AFTER <"$WORK/bob.rejoined"
[ "$AGAIN" -ge "$BEFORE" ] || fail "joined again in round $AGAIN, killed in $BEFORE"
[ "$AFTER" -le $((AGAIN + 1)) ] || fail "merges from round $AFTER on, and joined again in round $AGAIN"
is "$(asked status digits | look slots.1.state slots.1.attempt | paste -s -d ' ')" "running 2"
ok A-12 "bob was killed in round $BEFORE, joined again in round $AGAIN and merges from round $AFTER on"

echo "== the end"
touch "$WORK/data/alice/enough" "$WORK/data/bob/enough"
wait "$ALICE" && wait "$BOB" && wait "$CAROL"
ok A-42 "the end of the training reaches carol too, who has not ended it"
waiting "that the task is done" state_is digits state "done"
author status digits
asked status digits >"$WORK/task.json"
is "$(look slots.0.state slots.1.state slots.2.state slots.3.state <"$WORK/task.json" | uniq)" "done"
is "$(look message <"$WORK/task.json")" "every role is done"
ok A-14 "the task is done when all of its roles are"
WEIGHTS=$(find "$NODES/swop-1/runs/digits" -name weights.npz)
for name in alice bob carol; do cmp "$WORK/data/$name/weights.npz" "$WEIGHTS" || fail "$name has another model"; done
DIGESTS=$(for name in alice bob carol; do python "$HERE/last.py" "$WORK/$name/report.jsonl" finished digest; done | sort -u)
is "$(echo "$DIGESTS" | wc -l)" 1
is "$(for name in alice bob carol; do look digest <"$WORK/$name.json"; done | sort -u)" "$DIGESTS"
is "$(look ok task role index exit_code <"$WORK/carol.json" | paste -s -d ' ')" "true digits trainer 2 0"
ok A-22 "the final models are equal: $DIGESTS"
is "$(look slots.0.role slots.0.owner slots.3.owner slots.3.exit_code <"$WORK/task.json" | paste -s -d ' ')" \
    "trainer participant swop 0"
grep -q "$(od -An -tx1 "$WORK/alice.key" | tr -d ' \n' | cut -c1-16)" "$WORK/task.json" && fail "the key is shown" || true
has "$(say swarm logs "$(look slots.3.id <"$WORK/task.json")")" "the training is over"
ok A-18 "a slot says its role and owner, not its key; and the end of its program's output"

echo "== stopped, and out of time"
rm "$WORK"/data/*/enough
sed 's/Name: digits/Name: long/; s/{min: 2, max: 3, start: 3}/1/' "$WORK/task.yaml" >"$WORK/long.yaml"
sed 's/Name: digits/Name: short/; s/{min: 2, max: 3, start: 3}/1/; s/^Body:/Body:\n  MaxRunTime: 3/' "$WORK/task.yaml" \
    >"$WORK/short.yaml"
author run -f "$WORK/long.yaml"
begin alice 2 long --file "$WORK/long.yaml"
ALICE=$!
waiting "that alice runs" state_is long slots.0.state running
author task stop long
wait "$ALICE" && fail "alice ended well" || true
waiting "that it is stopped" state_is long state stopped
is "$(asked status long | look slots.0.state slots.1.state | uniq)" stopped
ok A-16 "a task that is stopped ends its programs"
author run -f "$WORK/short.yaml"
begin alice 2 short --file "$WORK/short.yaml"
ALICE=$!
wait "$ALICE" && fail "alice ended well" || true
waiting "that it is stopped" state_is short state stopped
has "$(look error.message <"$WORK/alice.json")" "is to end"
has "$(asked status short | look message)" "its MaxRunTime of 3 s is over"
ok A-17 "a task ends when its time is over"
