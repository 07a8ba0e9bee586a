#!/usr/bin/env bash
# The training service of MiniAutoML, on one machine without Kubernetes: bash run.sh [WORKDIR]
# Needs torch. Each row that is checked is one of the capabilities of that system.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v swarm >/dev/null || PATH="$HERE/../../.venv/bin:$PATH"
WORK=${1:-$(mktemp -d)}
mkdir -p "$WORK" && WORK=$(cd "$WORK" && pwd) && cd "$WORK" || exit 2
export XDG_STATE_HOME=$WORK/state
OUT=$WORK/out.json SEEN="" PASSED=0 FAILED=0 CODE=0
INTENTS=user.swci-1.intents

clean_up() {
    timeout 60 swarm down >/dev/null 2>&1
    [ $# -gt 0 ] || rm -rf "$WORK"
}
if [ $# -gt 0 ]; then trap 'clean_up kept' EXIT; else trap clean_up EXIT; fi
trap 'exit 130' INT TERM

# swarm, with the command printed before what it says; the exit code is in CODE, the object in OUT
say() {
    printf '$ swarm %s\n' "$*"
    timeout 60 swarm "$@" --json >"$OUT" 2>errors.txt
    CODE=$?
    cut -c1-600 "$OUT"
}
look() { python "$HERE/look.py" "$OUT" "$@"; }
ok() { PASSED=$((PASSED + 1)) && printf 'ok %s %s\n' "$1" "$2"; }
fail() { FAILED=$((FAILED + 1)) && printf 'NOT OK %s %s: %s\n' "$1" "$2" "$3" && cat errors.txt; }
# is ROW WHAT EXPECTED FOUND
is() { if [ "$3" = "$4" ]; then ok "$1" "$2"; else fail "$1" "$2" "expected $3, found $4"; fi; }
# has ROW WHAT PATTERN FOUND
has() { if [[ $4 == *$3* ]]; then ok "$1" "$2"; else fail "$1" "$2" "expected …$3…, found $4"; fi; }
# until_state TASK STATE...: ask until it is in one of these states; those on the way are added to SEEN
until_state() {
    local task=$1 state="" end=$((SECONDS + 60))
    while [ $SECONDS -lt $end ]; do
        timeout 60 swarm status "$task" --json >"$OUT" 2>errors.txt
        state=$(look state)
        [[ $SEEN == *"$state"* ]] || SEEN="$SEEN$state "
        case " ${*:2} " in *" $state "*) break ;; esac
    done
    printf '$ swarm status %s --json\n%s\n' "$task" "$(cut -c1-600 "$OUT")"
}
# task NAME LINES-OF-ITS-BODY
task() { printf 'Name: %s\nTaskType: RUN_JOBS\nBody:\n%s\n' "$1" "$2" >"$1.yaml" && cat "$1.yaml"; }
arrive() { read -r -t 60 LINE <&3 || LINE="nobody"; }
# how many processes of this service run
running() { (unset XDG_STATE_HOME && grep -lzF "XDG_STATE_HOME=$WORK/state" /proc/[0-9]*/environ 2>/dev/null | wc -l); }

python "$HERE/intents.py" months || exit 2
mkfifo arrived gate hold && exec 3<>arrived

# ---- the service
say up --sns 1 --cpu 1
is B-01 "one command starts the service, which queues jobs and runs them as processes" 0 $CODE
before=$(look 'nodes.*.pid')
say up --sns 1 --cpu 1
is B-01 "started again it is the same service" "$before" "$(look 'nodes.*.pid')"
ORG=$XDG_STATE_HOME/swarm/up/org-1
sed 's/mgrtype: PROCESS/mgrtype: DOCKER/; s/^  mgrtype: DOCKER/&\n  accessinfo: {accesstype: FROMENV}/' \
    "$XDG_STATE_HOME/swarm/up/swop-1.yaml" >docker.yaml
echo '$ run-swop --profile-file-name docker.yaml …'
timeout 60 run-swop --usr-dir "$WORK" --profile-file-name docker.yaml --sn-ip 127.0.0.1 \
    --key "$ORG/swop-1-key.pem" --cert "$ORG/swop-1-cert.pem" --capath "$ORG/ca/capath" --state docker >errors.txt 2>&1
CODE=$?
is B-02 "a service whose engine is not there ends at once" 2 $CODE
has B-02 "and says why" "has no container engine" "$(cat errors.txt)"

# ---- datasets
say data add $INTENTS months/january -m "the first month" --tag quiet
first=$(look hash)
say data commit $INTENTS months/february -m "the second month"
both=$(look hash)
say data show $INTENTS@1
is B-18 "up to the first commit it is the version of then" "$first" "$(look hash)"
say data commit $INTENTS months/march --tag late
say data tag $INTENTS quiet --commit 2
is B-17 "commits have tags" '["quiet"]' "$(look tags)"
say data show $INTENTS@2
is B-18 "the same selection is the same version, whatever was added since" "$both" "$(look hash)"
say data show $INTENTS@quiet
is B-18 "and so it is by tag" "$both" "$(look hash)"
is B-17 "its commits are listed with their messages" '["the first month", "the second month"]' "$(look 'commits.*.message')"
is B-19 "a version has a state" ready "$(look state)"
is B-19 "and statistics: parts, examples, labels" "2 54 3" \
    "$(look statistics.files) $(look statistics.examples) $(look statistics.labels)"
say data add user.swci-1.unused months/march/march.csv
say data rm user.swci-1.unused
say data ls
is B-17 "datasets are listed; what was removed is not there" "[\"$INTENTS\"]" "$(look 'datasets.*.name')"

# ---- submitting
task wrong '  Envvars: {LR: 1}'
say run -f wrong.yaml
is B-05 "a task without what is needed is refused" 2 $CODE
has B-05 "and what it lacks is named" "needs either Command (a list) or Exec (one line)" "$(look error.message)"
say status 99
is B-09 "an unknown id is not found" "2 task '99' not found" "$CODE $(look error.message)"

task hold '  Exec: "echo first > $ARRIVED; read line < $GATE"
  Shell: true
  Envvars: {ARRIVED: '"$WORK/arrived, GATE: $WORK/hold}"
say run -f hold.yaml
is B-04 "a task that is submitted has an id" "0 1" "$CODE $(look id)"
arrive
task intents "  Command: [python, train.py, '%DATA']
  Code: $HERE/code
  Data: {'%DATA': $INTENTS@quiet}
  Envvars: {LR: 4, EPOCHS: 12, ARRIVED: $WORK/arrived, GATE: $WORK/gate}
  Replicas: 3
  Rendezvous: true
  Output: intent-model"
say run -f intents.yaml
is B-04 "with algorithm, data, parameters and a name for the model" "0 2" "$CODE $(look id)"
task common "  Command: [python, most_common.py, '%DATA']
  Code: $HERE/code
  Data: {'%DATA': $INTENTS@$both}
  Output: intent-model"
say run -f common.yaml
say up --sns 1 --cpu 3
say status common
has B-06 "what waits says how many are before it" "queued 1 1 task ahead" "$(look state) $(look position) $(look message)"
say status intents
has B-06 "also when nobody is" "queued 0 0 tasks ahead" "$(look state) $(look position) $(look message)"
has B-06 "and what it waits for then" "needs 3 cpu at once: swop-1 (org-1) has 2 of 3 cpu free" "$(look message)"
is B-15 "while there is no room, nothing of the gang has begun" '["waiting", "waiting", "waiting"]' "$(look 'slots.*.state')"
SEEN="$(look state) "
echo go >hold
for rank in 0 1 2; do arrive; done
say status intents
SEEN="$SEEN$(look state) "
is B-15 "the next begins when the one before it has ended" '["running", "running", "running"]' "$(look 'slots.*.state')"
is B-12 "its workers are listed by task and role" \
    '["swarm-intents-master-0", "swarm-intents-worker-1", "swarm-intents-worker-2"]' "$(look 'slots.*.name')"
: >gate
until_state intents done failed
is B-07 "it was queued, then running, then done" "queued running done " "$SEEN"
is B-07 "and still says what was asked for" "4 12 3" \
    "$(look task.Body.Envvars.LR) $(look task.Body.Envvars.EPOCHS) $(look task.Body.Replicas)"
cp "$OUT" intents.json

# ---- the ranks
slot=$(look slots.1.id)
say logs "$slot"
look lines.0 >rank.json
OUT=$WORK/rank.json
is B-10 "each rank is told who it is and where the master is" "3 1 1 127.0.0.1" \
    "$(look WORLD_SIZE) $(look RANK) $(look LOCAL_RANK) $(look MASTER_ADDR)"
is B-10 "and at which port" yes "$([ "$(look MASTER_PORT)" -gt 0 ] && echo yes)"
is B-21 "parameters are variables of its environment" "4 12" "$(look LR) $(look EPOCHS)"
OUT=$WORK/out.json
say runs show intents
is B-11 "three ranks on one machine have reduced together" "[54.0, 54.0, 54.0]" "$(look 'jobs.*.metrics.0.metrics.examples')"
is B-22 "metrics are there by epoch and rank" "12 [1, 1, 1] [0, 1, 2]" \
    "$(look jobs.2.metrics.#) $(look 'jobs.*.metrics.0.epoch') $(look 'jobs.*.metrics.0.rank')"
is B-22 "with the run's end" "done 1.0" "$(look state) $(look jobs.0.metrics.11.metrics.accuracy)"
output=$(look jobs.0.output)
is B-22 "and the model is where it says" yes "$([ -s "$output/model.json" ] && echo yes)"

# ---- what a run came from
OUT=$WORK/intents.json
is B-23 "a run names the version of its data" "$INTENTS@$both" "$(look task.Body.Data.%DATA)"
has B-23 "and of its code" "sha256:" "$(look task.Body.CodeHash)"
OUT=$WORK/out.json
until_state common done failed
is B-25 "another algorithm needs another command and no other service" "done" "$(look state)"
say runs ls
is B-24 "what they made are versions of one model" '["intent-model", "intent-model"] [1, 2]' \
    "$(look 'artifacts.*.name') $(look 'artifacts.*.number')"
is B-24 "each with the run that made it" '["common", "intents"]' "$(look 'artifacts.*.task' sorted)"
is B-23 "and with its data" "[[\"$INTENTS@$both\"], [\"$INTENTS@$both\"]]" "$(look 'artifacts.*.data')"
say runs get 2 ./fetched
is B-24 "by the id of a run its model can be fetched" "0 intent-model intents" "$CODE $(look name) $(look task)"
is B-24 "as it was made" yes "$(cmp -s "$output/model.json" fetched/model.json && echo yes)"
say data show $INTENTS@quiet
is B-23 "and data name the runs that used them" '["intents", "common"]' "$(look 'used_by.*.name')"
say data rm $INTENTS
has B-17 "what runs have used stays" "is used by task intents" "$(look error.message)"

# ---- failures
task broken '  Exec: "echo no such column: text; exit 3"
  Shell: true'
say run -f broken.yaml
until_state broken done failed
is B-08 "a failure says how it ended" "failed its program ended with exit code 3" "$(look state) $(look message)"
is B-08 "with the last lines of its log" '["no such column: text"]' "$(look slots.0.lines)"
task missing '  Command: [no-such-program]'
say run -f missing.yaml
until_state missing done failed
has B-08 "a program that is not there is named" "no-such-program cannot be started" "$(look slots.0.lines)"
sed 's/^Name: .*/Name: killed/' intents.yaml >killed.yaml
say run -f killed.yaml
pids=()
for rank in 0 1 2; do arrive && pids[${LINE%% *}]=${LINE##* }; done
echo "\$ kill -9 ${pids[2]}" && kill -9 "${pids[2]}"
until_state killed done failed
is B-13 "a rank that dies fails the gang, and the reason names it" \
    "failed rank 2 failed: its program was killed by SIGKILL" "$(look state) $(look message)"
is B-13 "the others were stopped" '["stopped", "stopped", "failed"]' "$(look 'slots.*.state')"
left=0 && for pid in "${pids[@]}"; do [ -d "/proc/$pid" ] && left=$((left + 1)); done
is B-13 "and none of them runs any more" 0 $left

# ---- the end
some=$([ "$(running)" -gt 0 ] && echo some)
say down
is B-26 "one command ends the service" 0 $CODE
is B-26 "and leaves no process" "some before, 0 after" "$some before, $(running) after"
echo "$PASSED passed, $FAILED failed"
[ $FAILED -eq 0 ]
