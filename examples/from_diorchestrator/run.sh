#!/usr/bin/env bash
# The elastic reinforcement learning of DI-orchestrator, on one machine without Kubernetes: bash run.sh [WORKDIR]
# Each row that is checked is one of the capabilities of that system.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v swarm >/dev/null || PATH="$HERE/../../.venv/bin:$PATH"
WORK=${1:-$(mktemp -d)}
mkdir -p "$WORK" && WORK=$(cd "$WORK" && pwd) && cd "$WORK" || exit 2
export XDG_STATE_HOME=$WORK/state
OUT=$WORK/out.json PASSED=0 FAILED=0 CODE=0

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
look() { python "$HERE/look.py" "$OUT" "$1"; }
ok() { PASSED=$((PASSED + 1)) && printf 'ok %s %s\n' "$1" "$2"; }
fail() { FAILED=$((FAILED + 1)) && printf 'NOT OK %s %s: %s\n' "$1" "$2" "$3" && cat errors.txt; }
# is ROW WHAT EXPECTED FOUND
is() { if [ "$3" = "$4" ]; then ok "$1" "$2"; else fail "$1" "$2" "expected $3, found $4"; fi; }
# has ROW WHAT PATTERN FOUND
has() { if [[ $4 == *$3* ]]; then ok "$1" "$2"; else fail "$1" "$2" "expected …$3…, found $4"; fi; }
# until_is TASK WHAT EXPECTED: ask until this is so
until_is() {
    local end=$((SECONDS + 60))
    while [ $SECONDS -lt $end ]; do
        timeout 60 swarm status "$1" --json >"$OUT" 2>errors.txt
        [ "$(look "$2")" = "$3" ] && break
    done
    printf '$ swarm status %s --json\n%s\n' "$1" "$(cut -c1-600 "$OUT")"
}
# task NAME LINES-OF-ITS-BODY
task() { printf 'Name: %s\nTaskType: RUN_SWARM\nBody:\n  Code: %s\n%s\n' "$1" "$HERE/code" "$2" >"$1.yaml" && cat "$1.yaml"; }
# what a collector says that holds an item: KEY ATTEMPT INDEX PID
arrive() { read -r -t 60 KEY ATTEMPT INDEX PID <&3 || KEY="nobody"; }
# order the coordinator and hear what it says: in OUT
order() {
    printf '> %s\n' "$*"
    echo "$*" >&4 && read -r -t 60 LINE <&5 || LINE='{}'
    echo "$LINE" | tee "$OUT"
}
# the processes of a task's slots: ROLE INDEX PID
pids() {
    for place in $(grep -lzx "SWARM_TASK=$1" /proc/[0-9]*/environ 2>/dev/null); do
        tr '\0' '\n' <"$place" 2>/dev/null | sed -n 's/^SWARM_ROLE=//p; s/^SWARM_INDEX=//p' | sort -r | tr '\n' ' '
        echo "$place" | grep -o '[0-9]*'
    done | sort
}

kill_slot() {
    local pid
    pid=$(pids "$1" | sed -n "s/^$2 //p")
    echo "\$ kill -9 $pid" && kill -9 "$pid"
}

mkfifo arrived orders answers && exec 3<>arrived 4<>orders 5<>answers

# ---- one file, several roles, in the order of their needs
task elastic "  Envvars: {PLACE: $WORK}
  Restart: 3
  Roles:
    - {Name: coordinator, Lead: true, Command: [python, elastic.py]}
    - Name: collector
      Replicas: {min: 1, max: 3, start: 2}
      Needs: [coordinator]
      Command: [python, collector.py]"
say up --sns 1 --cpu 0
say run -f elastic.yaml
is D-01 "one file with several roles is submitted" "0 1" "$CODE $(look id)"
say status elastic
has D-06 "while it waits it says for whom" \
    "waits for 1 more coordinator (0 of 1 run); waits for 1 more collector (0 of 1 run, held back until coordinator runs)" \
    "$(look message)"
say up --sns 1 --cpu 8
until_is elastic 'slots.*.state' '["running", "running", "running"]'
is D-03 "instances have names, states, attempts" \
    '["swarm-elastic-coordinator-0", "swarm-elastic-collector-0", "swarm-elastic-collector-1"] [1, 1, 1]' \
    "$(look 'slots.*.name') $(look 'slots.*.attempt')"
early=$(look slots.0.started) late=$(look slots.1.started)
if [[ $early < $late ]]; then ok D-02 "the coordinator came up first"; else fail D-02 "came up first" "$early, $late"; fi
slot=$(look slots.1.id) address=$(look slots.0.address) own=$(look slots.1.address)
say logs "$slot"
is D-05 "a collector was told where its coordinator is" "rank 1 coordinator at $address" "$(look lines.0)"
has D-22 "and how many collectors there are" "world 2 " "$(look lines.1)"
has D-23 "and where all are that there were, itself among them" "$own" "$(look lines.1)"
say logs "$(timeout 60 swarm status elastic --json >"$OUT" && look slots.0.id)"
is D-04 "every instance has its log" "rank 0 at $address" "$(look lines.0)"

# ---- more and fewer
before=$(pids elastic)
say scale elastic collector=+1
asked=$(date +%s%3N)
is D-09 "one more, which is named" '[2] 3' "$(look 'added.*.index') $(look slots)"
until_is elastic state running
began=$(date -d "$(look slots.3.started)" +%s%3N)
is D-09 "runs within 2 s" "running yes" "$(look slots.3.state) $([ $((began - asked)) -le 2000 ] && echo yes)"
is D-09 "and no other process was touched" "$before" "$(pids elastic | grep -v 'collector 2')"
is D-25 "it has the next index" collector:2 "$(look slots.3.role):$(look slots.3.index)"
say scale elastic collector=+1
is D-09 "more than there may be is refused" \
    "5 role collector of task elastic has 1 to 3 slots, asked for 4; it has 3" "$CODE $(look error.message)"
say scale elastic collector=-1
is D-08 "one less: it is said which" '[2] 2' "$(look 'removed.*.index') $(look slots)"
until_is elastic slots.3.state stopped
is D-08 "the others go on" "$before" "$(pids elastic)"
order scale collector 1
is D-07 "the coordinator itself asks for one more, and gets it" '[2]' "$(look 'added.*.index')"
until_is elastic state running

# ---- items of work
order put killed 3600
arrive
echo "\$ kill -9 $PID" && kill -9 "$PID"
first=$INDEX
arrive
is D-11 "what a dead collector held another gets" "killed 2" "$KEY $ATTEMPT"
at=slots.$((first + 1))
until_is elastic $at.attempt "$([ "$first" = 2 ] && echo 3 || echo 2)"
until_is elastic $at.state running
is D-10 "the dead one is replaced" running "$(look $at.state)"
is D-25 "and keeps its index" "$first" "$(look $at.index)"
echo done >"killed-$ATTEMPT"
order results killed
is D-12 "the counts add up" '{"put": 1, "waiting": 0, "leased": 0, "done": 1, "failed": 0, "returned": 1}' "$(look counts)"
order put late 1
arrive
slow="late-$ATTEMPT"
arrive
is D-11 "an item that takes too long is given out again" "late 2" "$KEY $ATTEMPT"
echo done >"$slow" && echo done >"late-$ATTEMPT"
order results late
is D-11 "and is done by whoever has it now" "$INDEX" "$(look late)"
order put removed 3600
arrive
say scale elastic collector=1
is D-08 "two less" '[2, 1]' "$(look 'removed.*.index')"
if [ "$INDEX" != 0 ]; then arrive; fi
is D-12 "what a removed collector held is not lost" "removed 0" "$KEY $INDEX"
kill_slot elastic 'coordinator 0'
until_is elastic slots.0.attempt 2
echo done >"removed-$ATTEMPT"
order results removed
is D-17 "the coordinator was started anew, and lost nothing" "0 3" "$(look removed) $(look counts.done)"
echo end >&4
until_is elastic state done
is D-16 "the task ends well with its lead" "coordinator is done" "$(look message)"
is D-18 "and what still ran was ended" stopped "$(look slots.1.state)"
say logs "$slot"
is D-18 "its log is there" "rank 1" "$(look lines.0 | cut -c1-6)"

# ---- ends
task alone '  Restart: 1
  Roles: [{Name: only, Command: [python, -c, "raise SystemExit(3)"]}]'
say run -f alone.yaml
until_is alone state failed
is D-17 "what fails again after its restarts fails the task" \
    "2 only failed: its program ended with exit code 3" "$(look slots.0.attempt) $(look message)"
task never "  StartWithin: 1
  Roles:
    - {Name: coordinator, Command: [sleep, '1000']}
    - {Name: learner, Needs: [coordinator], Resources: {gpu: 1}, Command: ['true']}"
say run -f never.yaml
until_is never state failed
is D-06 "minimums that do not run in time are given up" \
    "gave up after 1 s: it waits for 1 more learner (0 of 1 run)" "$(look message)"
task longer "  Clean: none
  Envvars: {PLACE: $WORK}
  Roles:
    - {Name: lead, Lead: true, Command: ['true']}
    - {Name: rest, Command: [sh, -c, 'mkfifo \"\$PLACE/rest\"; read line < \"\$PLACE/rest\"']}"
say run -f longer.yaml
until_is longer 'slots.*.state' '["done", "running"]'
is D-18 "with Clean: none the rest goes on" running "$(look state)"
echo done >rest
until_is longer state done
is D-18 "to its own end" '["done", "done"]' "$(look 'slots.*.state')"

# ---- a CartPole that is learned: collectors play, learners merge, the policy goes back
for seed in 0 1 2; do
    name=cartpole-$seed stop="" pause=""
    [ $seed = 1 ] && pause=yes
    [ $seed = 2 ] && stop="  StopOn: {metric: reward, ge: 195}"
    task $name "  Envvars: {SEED: $seed, PLACE: $WORK, GOES_ON: '$stop', PAUSE: '$pause'}
  Restart: 3
$stop
  Roles:
    - {Name: coordinator, Lead: true, Command: [python, coordinator.py]}
    - {Name: learner, Replicas: 2, Needs: [coordinator], Merge: $name, Command: [python, learner.py]}
    - {Name: collector, Replicas: {min: 1, max: 4, start: 2}, Needs: [coordinator], Command: [python, collector.py]}"
    say run -f $name.yaml
    if [ $seed = 1 ]; then
        arrive
        say scale $name collector=+1
        echo "\$ kill -9 $PID" && kill -9 "$PID"
        killed=$INDEX
        arrive
        echo done >"go-$ATTEMPT"
    fi
    until_is $name state done
    if [ $seed = 2 ]; then
        is D-15 "what is to be reached ends the task well" "coordinator 0: reward is 200, StopOn asks for 195" \
            "$(look message)"
        is D-15 "and all its roles" '"stopped" "done" "done" "stopped" "stopped"' \
            "$(look 'slots.*.state' | tr -d '[],')"
        is D-15 "of which nothing runs any more" "" "$(pids $name)"
    fi
    if [ $seed = 1 ]; then
        is D-10 "a collector was added and one was killed meanwhile" "2 2" \
            "$(look "slots.$((3 + killed)).attempt") $(look slots.5.index)"
    fi
    digests=$(sha256sum "$XDG_STATE_HOME/swarm/up/swop-1/runs/$name"/learner-*/policy.json | cut -d' ' -f1)
    is D-14 "both learners of seed $seed end with one policy" "2 1" \
        "$(wc -l <<<"$digests") $(sort -u <<<"$digests" | wc -l)"
    say runs show $name
    before=$(look jobs.0.metrics.0.metrics.before) after=$(look jobs.0.metrics.0.metrics.reward)
    is D-13 "the policy of seed $seed, tried by collectors, learned: $before before, $after after" "yes yes" \
        "$(awk "BEGIN {print ($before < 60 ? \"yes\" : \"no\"), ($after >= 195 ? \"yes\" : \"no\")}")"
    is D-12 "no item was lost on the way" "$(look jobs.0.metrics.0.metrics.put)" "$(look jobs.0.metrics.0.metrics.done)"
done
echo "$PASSED passed, $FAILED failed"
[ $FAILED -eq 0 ]
