#!/usr/bin/env bash
# A sweep as on orchestra's cluster, on one machine: bash run.sh [WORKDIR]
# Each row that is checked is one of the capabilities of that system.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v swarm >/dev/null || PATH="$HERE/../../.venv/bin:$PATH"
WORK=${1:-$(mktemp -d)}
mkdir -p "$WORK" && WORK=$(cd "$WORK" && pwd) && cd "$WORK" || exit 2
export XDG_STATE_HOME=$WORK/state
OUT=$WORK/out.json PASSED=0 FAILED=0 CODE=0 LINE=""
ME=user.swci-1
RUNS=$XDG_STATE_HOME/swarm/up/swop-1/runs
TUNE="python '$HERE/job_tuning.py' -d %DATA -c %IN -o %OUT"

clean_up() {
    timeout 60 swarm down >/dev/null 2>&1
    [ $# -gt 0 ] || rm -rf "$WORK"
}
if [ $# -gt 0 ]; then trap 'clean_up kept' EXIT; else trap clean_up EXIT; fi
trap 'exit 130' INT TERM

# swarm, with the command printed before what it says; the exit code is in CODE, the object in OUT
say() {
    printf '$ swarm %s\n' "$*"
    timeout 120 swarm "$@" --json >"$OUT" 2>errors.txt
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
# until_state TASK STATE...: ask until it is in one of these states
until_state() {
    local task=$1 end=$((SECONDS + 120))
    while [ $SECONDS -lt $end ]; do
        timeout 120 swarm status "$task" --json >"$OUT" 2>errors.txt
        case " ${*:2} " in *" $(look state) "*) break ;; esac
    done
    printf '$ swarm status %s --json\n%s\n' "$task" "$(cut -c1-600 "$OUT")"
}
# arrive: wait for a job, which says its number, its attempt, its process and that of its child
arrive() { read -r -t 120 JOB ATTEMPT PID CHILD <&3 || JOB="nobody"; }
go() { for _ in $(seq "$1"); do printf g >&4; done; }
# left PID...: how many of them run; one that has ended and whose new parent has not looked yet does not
left() { local count=0 pid; for pid in "$@"; do grep -qs '^State:.[^Z]' "/proc/$pid/status" && count=$((count + 1)); done; echo $count; }
outputs() { find "$RUNS/$1" -name result.json 2>/dev/null | wc -l; }

python "$HERE/create.py" . || exit 2
mkfifo arrived go && exec 3<>arrived 4<>go
say up --sns 1 --cpu 2
SWOP=$(look nodes.1.pid) SN=$(look nodes.0.pid)

# ---- datasets
say data add $ME.data data.npz
is C-01 "a file has a name" "0 1" "$CODE $(look files)"
say data add $ME.configs configs
is C-01 "a directory, too, with every file in it" "0 12" "$CODE $(look files)"
say data add user.bob.data data.npz
has C-02 "a name with another's prefix is refused" "begin with $ME." "$(look error.message)"
say data add $ME.data data.npz
has C-02 "and one that there is already" "there is a dataset $ME.data already" "$(look error.message)"

# ---- submitting
for tag in %DATA %IN %OUT; do
    say sweep -t cv -d $ME.data -c $ME.configs --exec "${TUNE//$tag/x}"
    has C-05 "a command without $tag is refused" "--exec does not name $tag" "$(look error.message)"
done
say sweep -t cv -d $ME.data -c $ME.configs --exec "$TUNE" --image orchestra_tutorial
has C-05 "an image for what is a process is refused" "the image orchestra_tutorial would not be used" "$(look error.message)"
say sweep -t cv -d $ME.data -c $ME.configs --exec "$TUNE" --dry-run
has C-05 "every tag has its value" "/configs/degree-01.json" "$(look jobs.0.command)"
has C-05 "for each job its own" "-o runs/cv/11" "$(look jobs.11.command)"
is C-04 "there is a job for each file" 12 "$(look jobs.#)"
say task ls
is C-15 "a dry run creates nothing" "0 no" "$(look tasks.#) $([ -d "$RUNS" ] && echo yes || echo no)"

# ---- a sweep whose worker, operator and network node are killed
say sweep -t cv -d $ME.data -c $ME.configs --exec "$TUNE -m '$WORK'" --restart 2
is C-04 "a task of twelve jobs, of which ten are testers" "0 12 10" "$CODE $(look jobs) $(look testers)"
arrive && first=$PID children=$CHILD
arrive && second=$PID children="$children $CHILD"
say status cv
is C-08 "testers come first" "testing" "$(look state)"
is C-22 "as many at a time as there are slots" '{"running": 2, "waiting": 10}' "$(look counts)"
echo "\$ kill -9 $first" && kill -9 "$first"
arrive
is C-17 "a job whose worker died is tried again" "2" "$ATTEMPT"
children="$children $CHILD"
echo "\$ kill -9 $SWOP $SN" && kill -9 "$SWOP" "$SN"
go 1
say up --sns 1 --cpu 2
is C-21 "operator and network node are there again" 0 $CODE
go 11
for _ in $(seq 10); do arrive && children="$children $CHILD"; done
until_state cv done partial failed
is C-20 "nothing is lost" '{"done": 12}' "$(look counts)"
is C-19 "all of them are done, and so is the task" "done 12 of 12 jobs completed" "$(look state) $(look message)"
is C-21 "and nothing ran twice but what was killed" 111111111112 \
    "$(look 'slots.*.attempt' | tr -dc '0-9 ' | tr ' ' '\n' | sort | tr -d '\n')"
is C-10 "each has left its output, once" "12 12" "$(outputs cv) $(cat "$RUNS"/cv/*/result.json | grep -o 'degree-[0-9]*' | sort -u | wc -l)"
is C-03 "made by the script from data, configuration and output" degree-05.json "$(OUT=$RUNS/cv/4/result.json && look config)"
tested=$(look 'slots.*.ended' | grep -o '[0-9][^"]*Z' | head -10 | sort | tail -1)
next=$(look 'slots.*.started' | grep -o '[0-9][^"]*Z' | tail -2 | sort | head -1)
is C-08 "no other began before ten had succeeded" yes "$([[ -n $tested && ! $next < $tested ]] && echo yes)"
is C-18 "no child of a job is left" 0 "$(left $children)"
say runs best cv --by error --lowest
is C-35 "the best configuration is named" degree-03.json "$(look best.input)"
say runs show cv
is C-35 "among all of them" 12 "$(look jobs.#)"
say logs "$(look jobs.4.id)"
has C-29 "a job has a log" "config degree-05.json gpu -1" "$(look lines)"
has C-22 "and a CPU job sees no GPU" "gpu -1" "$(look lines)"
say data rm $ME.configs
has C-27 "a dataset in use stays" "is used by task cv" "$(look error.message)"

# ---- a sweep of swarms: two learners merge for each rate, and there is room for two at a time
cat >rates.yaml <<YAML
Name: rates
TaskType: RUN_SWARM
Body:
  ForEach: {"%RATE": [0.5, 0.01]}
  Roles:
    - Name: learner
      Replicas: 2
      Merge: rates
      Command: [python, '$HERE/swarm_tuning.py', '$WORK/data.npz', '%RATE']
YAML
cat rates.yaml
say run -f rates.yaml
is A-30 "a task with a swarm for each value has one id" "0 2 1" "$CODE $(look swarms) $(look id | grep -c .)"
say status rates
is A-30 "one swarm at a time, as there is room for one" '["running", "queued"]' "$(look 'swarms.*.state')"
say task wait rates --timeout 110
is A-30 "it is waited for as one" "0 done 2 of 2 swarms are done" "$CODE $(look state) $(look message)"
merged=$(cat "$RUNS"/rates.*/learner-*/result.json)
is A-30 "each has merged in a contract of its own" "rates.0 rates.0 rates.1 rates.1" \
    "$(grep -o 'rates\.[01]' <<<"$merged" | tr '\n' ' ' | sed 's/ $//')"
is A-30 "and both learners of each have the same model" 2 "$(grep -o 'weights.*' <<<"$merged" | sort -u | wc -l)"
say runs best rates --by error --lowest
is A-30 "the best swarm is named by its value" "0.5 2 2" "$(look best.input) $(look best.slots) $(look jobs.#)"
say task rm rates --outputs
is A-30 "and all of it is deleted at once" 0 $CODE

# ---- failures
say up --sns 1 --cpu 1 --gpu 1
mkdir broken && cp configs/* broken && echo '{"degree": 1, "folds": 5, "needs": "'"$WORK"'/key"}' >broken/degree-01.json
say sweep -t bad -d data.npz -c broken --exec "$TUNE"
until_state bad done partial failed
is C-08 "a tester that fails fails the task" "failed" "$(look state)"
has C-08 "which says why" "tester 0 failed: its program ended with exit code 1" "$(look message)"
is C-08 "the rest has never started" '{"failed": 1, "stopped": 11}' "$(look counts)"
is C-22 "one at a time now" null "$(look slots.1.started)"
say sweep -t all -d data.npz -c broken --exec ". '$HERE/setup.sh' && $TUNE && echo after >%OUT/after" --shell --bypass --gpu 1
is C-09 "without testers all start at once" "running 0" "$(look state) $(look testers)"
until_state all done partial failed
is C-19 "all have run and one has failed" 'partial {"done": 11, "failed": 1}' "$(look state) $(look counts)"
is C-07 "a shell does what comes before and after" "after 11" "$(cat "$RUNS/all/1/after") $(ls "$RUNS"/all/*/after | wc -l)"
say logs "$(look slots.1.id)"
has C-22 "a GPU job has one to itself" "gpu 0" "$(look lines)"
touch key
say task retry all
until_state all done partial failed
is C-16 "a retry runs what has failed, and only that" 'done [2, 1, 1]' "$(look state) $(look 'slots.*.attempt' | cut -c1-8)]"

# ---- ending and deleting
say sweep -t long -d data.npz -c configs --exec "$TUNE -m '$WORK'" --bypass
arrive
say task rm long
has C-13 "what runs is not deleted" "it cannot be deleted" "$(look error.message)"
say task kill long
is C-18 "a task is killed" 0 $CODE
until_state long stopped
is C-18 "what waited never starts, what ran has ended" '{"stopped": 12} 0' "$(look counts) $(left "$PID" "$CHILD")"
say sweep -t forced -d data.npz -c configs --exec "$TUNE -m '$WORK'" --bypass
arrive
say task rm forced --force
is C-13 "unless that is forced" "0 0" "$CODE $(left "$PID" "$CHILD")"
say task rm cv --outputs
is C-13 "a task that has ended is deleted" 0 $CODE
say sweep -t cv -d $ME.data -c $ME.configs --exec "$TUNE" --bypass
until_state cv done partial failed
is C-13 "its name is free again, with its place" "done 12" "$(look state) $(outputs cv)"
say task ls
is C-14 "the tasks are listed" '["bad", "all", "long", "cv"]' "$(look 'tasks.*.name')"
is C-14 "each with its state" '["failed", "done", "stopped", "done"]' "$(look 'tasks.*.state')"
is C-14 "and how many jobs are in which" '{"failed": 1, "stopped": 11}' "$(look tasks.0.counts)"
say task rm cv
say data rm $ME.configs
say data ls
is C-27 "datasets are listed, and forgotten" "[\"$ME.data\"]" "$(look 'datasets.*.name')"

echo "$PASSED passed, $FAILED failed"
[ $FAILED -eq 0 ]
