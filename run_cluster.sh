#!/usr/bin/env bash
# Starts a cluster of real peers on this machine and shows that it keeps a real file alive.
#
#   ./run_cluster.sh            the demonstration: store, kill, retrieve, repair; exit 0 only if all of it is true
#   ./run_cluster.sh --keep     start the peers, show what they print, and type to any of them, until Ctrl-C
#   ./run_cluster.sh --ring     the course's classroom ring and its own story, every line checked
#   ./run_cluster.sh --help     all options
set -euo pipefail
here=$PWD   # where names of files begin
cd "$(dirname "${BASH_SOURCE[0]}")"
# The peers are those of this run alone, whatever network the user's own commands join.
for name in $(compgen -e KADRING_ || true); do unset "$name"; done

usage() {
  cat <<'TEXT'
usage: run_cluster.sh [-n PEERS] [--size MIB] [--kill N] [--replicas N] [--file FILE] [--keep] [--trace DIR]
       run_cluster.sh --ring [--keep [--ids 'ID ID...'] [--interval SECONDS]] [--trace DIR]

  -n PEERS        peers to start                                (8)
  --size MIB      size of the file that is stored               (64)
  --file FILE     store this file instead of random bytes
  --kill N        peers to kill with SIGKILL once it is stored  (2, or as many as leave two)
  --replicas N    copies of each block                          (as many as can be killed, and one more: 3)
  --keep          start the peers and stay until Ctrl-C: what they print is shown after the number of each, and a line
                  such as "0 store report.pdf" is typed into peer 0
  --ring          the course's classroom ring instead: join, quit, kill, store and request, checked line by line
  --ids 'ID...'   with --ring --keep: the peers, at least three   (2 4 5 8 9 14 19)
  --interval S    with --ring --keep: seconds between pings       (1)
  --trace DIR     have each peer record into DIR what it does, for "kadring trace", and write DIR/page.html for a browser

KADRING names a built program to use; without it the script builds one, quickly rather than for the last bit of speed.
TEXT
}

die() { printf 'run_cluster.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }

peers=8 size=64 kills='' replicas='' file='' keep=no ring=no ids='' interval='' of_blocks='' trace=''
while (($#)); do
  case "$1" in
    -n | --size | --kill | --replicas | --file | --ids | --interval | --trace)
      (($# >= 2)) || { usage >&2; die "$1 wants a value"; }
      case "$1" in --ids | --interval | --trace) ;; *) of_blocks=$1 ;; esac
      case "$1" in
        --file) file=$2 ;;
        --ids) ids=$2 ;;
        --trace) trace=$2 ;;
        *)
          [[ $2 =~ ^[0-9]{1,6}$ ]] || die "$1 wants a whole number, not '$2'"
          value=$((10#$2)) # 010 is ten
          case "$1" in
            -n) peers=$value ;; --size) size=$value ;; --kill) kills=$value ;; --replicas) replicas=$value ;;
            --interval) interval=$value ;;
          esac
          ;;
      esac
      shift 2
      ;;
    --keep) keep=yes; shift ;;
    --ring) ring=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option '$1'" ;;
  esac
done
((peers >= 1)) || die "a cluster has at least one peer"
: "${kills:=$((peers < 4 ? (peers > 2 ? peers - 2 : 0) : 2))}"
: "${replicas:=$((kills + 1 > 7 ? 7 : kills + 1))}"
[[ $ring == no || -z $of_blocks ]] || die "$of_blocks is not for --ring, whose story has its own seven peers and files"
[[ $ring$keep == yesyes || -z $ids$interval ]] || die "--ids and --interval go with --ring --keep"
mapfile -t members < <(tr ' ' '\n' <<<"${ids:-2 4 5 8 9 14 19}" | sort -nu | sed '/^$/d')
for name in "${members[@]}"; do
  [[ $name =~ ^(0|[1-9][0-9]{0,2})$ ]] && ((name <= 255)) || die "an id is a number from 0 to 255, not '$name'"
done
((${#members[@]} >= 3)) || die "--ids wants at least three different ones, as in --ids '2 4 5'"
((replicas >= 1 && replicas <= 7)) || die "--replicas is 1 to 7, not $replicas"
[[ $keep == yes ]] || ((kills == 0 || kills + 2 <= peers)) || die "with $peers peers at most $((peers - 2)) can be killed: one stores, one retrieves"
[[ -z $file ]] || file=$(cd "$here" && realpath -- "$file")
[[ -z $file || -f $file && -r $file ]] || die "'$file' is no file that can be read"

if [[ -n $trace ]]; then
  trace=$(cd "$here" && mkdir -p -- "$trace" && cd -- "$trace" && pwd) || die "cannot make the folder for --trace"
  compgen -G "$trace/peer-*.jsonl" >/dev/null && die "'$trace' has records already; name a new folder"
fi

if [[ -z ${KADRING:-} ]]; then
  say "building"
  cargo build --profile demo --locked
  KADRING=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/demo/kadring
fi
# A name without a folder is looked for as the shell does.
[[ $KADRING == */* ]] || KADRING=$(type -P -- "$KADRING" || printf %s "$KADRING")
KADRING=$(cd "$here" && realpath -- "$KADRING")
[[ -x $KADRING ]] || die "there is no program at '$KADRING'"

run=$(mktemp -d "${TMPDIR:-/tmp}/kadring-cluster.XXXXXX")
export TMPDIR=$run # the peers' own temporary folders go with it, also those of peers that are killed
pids=()   # peer number -> process id; 0 once it has ended
whole=no  # whether the story was told to its end
result=1

# Ends what this run started, and nothing else.
cleanup() {
  # A second signal ends neither the peers' end nor this.
  trap - EXIT
  trap '' INT TERM
  local n pid
  for n in "${!pids[@]}"; do
    pid=${pids[n]}
    ((pid)) || continue
    kill -TERM "$pid" 2>/dev/null || true
  done
  for n in "${!pids[@]}"; do
    pid=${pids[n]}
    ((pid)) || continue
    for _ in {1..50}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf -- "$run"
  exit "$result"
}
trap cleanup EXIT
trap 'result=130; exit' INT
trap 'result=143; exit' TERM

# fail N TEXT…: gives up, with the last words of peer N.
fail() {
  local n=$1
  shift
  printf '\nrun_cluster.sh: %s\n' "$*" >&2
  if [[ -s $run/$n/err ]]; then printf -- '--- the last lines of peer %s:\n' "$n" >&2; tail -n 15 "$run/$n/err" >&2; fi
  exit 1
}

# start N FOLDER ARG…: starts peer N in FOLDER, its standard input a FIFO that this script holds open.
start() {
  local n=$1 folder=$2 fd record=()
  shift 2
  [[ -z $trace ]] || record=(--record "$trace/peer-$n.jsonl")
  mkdir -p "$run/$n"
  mkfifo "$run/$n/in"
  exec {fd}<>"$run/$n/in"
  input[n]=$fd
  (cd "$folder" && exec "$KADRING" "$@" "${record[@]}" <"$run/$n/in" >"$run/$n/out" 2>"$run/$n/err") &
  pids[n]=$!
}
input=()

# until_true SECONDS COMMAND…: waits until the command succeeds; fails at the deadline.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# tell N LINE: types a line into peer N.
tell() { printf '%s\n' "$2" >&"${input[$1]}"; }

alive() { ((pids[$1])) && kill -0 "${pids[$1]}" 2>/dev/null; }

kill_peer() {
  kill -KILL "${pids[$1]}"
  wait "${pids[$1]}" 2>/dev/null || true
  pids[$1]=0
}

ready_or_dead() { [[ -s $run/$1/ready ]] || ! alive "$1"; }

start_peer() {
  local n=$1 bootstrap=()
  local format=(--json)
  ((n == 0)) || bootstrap=(--bootstrap "127.0.0.1:$first_port")
  # A person reads and types.
  [[ $keep == no ]] || format=()
  start "$n" "$here" peer --port 0 --data "$run/$n/data" --ready-file "$run/$n/ready" --replicas "$replicas" \
    "${format[@]}" "${bootstrap[@]}"
}

# converse N…: shows what these peers print from now on, and types into them what is said; ends with Ctrl-C.
converse() {
  local n line
  for n; do
    # Each ends with its peer.
    sed -u "s/^/[$n] /" < <(exec tail -q -n 0 -f --pid="${pids[n]}" "$run/$n/out" "$run/$n/err" 2>/dev/null) &
  done
  printf '\nA line such as "%s %s" is typed into peer %s. Ctrl-C ends all of them.\n' "$1" help "$1"
  while read -r n line; do
    [[ -n $n ]] || continue
    if [[ ! $n =~ ^[0-9]+$ || -z ${pids[10#$n]:-} ]]; then
      printf 'which peer? say for example: %s %s\n' "$1" "$n $line"
    elif ! alive "$((10#$n))"; then
      printf 'peer %s has ended\n' "$n"
    else
      tell "$((10#$n))" "$line"
    fi
  done
  # Nobody types any more: the peers stay.
  wait
}

wait_ready() {
  until_true 20 ready_or_dead "$1" || fail "$1" "peer $1 was not ready within 20 s"
  alive "$1" || fail "$1" "peer $1 ended before it was ready"
}

port_of() { sed -n 's/.*"udp":\([0-9]*\).*/\1/p' "$run/$1/ready"; }

# answers N COUNT: whether peer N has printed COUNT answers (its READY line is none).
answers() { (($(grep -c '"answer"' "$run/$1/out" || true) >= $2)); }

# ask N LINE SECONDS: types a command and prints the JSON line that answers it.
ask() {
  local before
  before=$(grep -c '"answer"' "$run/$1/out" || true)
  tell "$1" "$2"
  until_true "$3" answers "$1" $((before + 1)) || fail "$1" "peer $1 did not answer '$2' within $3 s"
  grep '"answer"' "$run/$1/out" | sed -n "$((before + 1))p"
}

# quoted TEXT: the same as one word of a command, as a shell quotes it.
quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

# field NAME: the value of a field of a JSON line on standard input.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

blocks_of() { find "$run/$1/data/blocks" -type f -name '[0-9a-f]*' -printf '%f\n' 2>/dev/null | grep -xE '[0-9a-f]{64}' || true; }

# table: who holds what. Sets fewest and most, the least and the greatest number of live copies of any block.
table() {
  local n count all=0
  printf '   %-6s %-8s %8s\n' peer state blocks
  : >"$run/copies"
  for n in "${!pids[@]}"; do
    if alive "$n"; then
      blocks_of "$n" >"$run/held"
      count=$(wc -l <"$run/held")
      cat "$run/held" >>"$run/copies"
      printf '   %-6s %-8s %8d\n' "$n" running "$count"
    else
      printf '   %-6s %-8s %8s\n' "$n" killed -
    fi
  done
  read -r all fewest most < <(sort "$run/copies" | uniq -c | awk '{ n++; if (n == 1 || $1 < low) low = $1; if ($1 > high) high = $1 } END { print n + 0, low + 0, high + 0 }')
  printf '   %d different blocks alive, each with %d to %d live copies\n' "$all" "$fewest" "$most"
  different=$all
}

# until_so N WHAT…: has peer N say when it is so, at the latest within a minute (its "help wait" says what can be waited for).
until_so() {
  local n=$1
  shift
  "$KADRING" ctl --data "$run/$n/data" wait "$@" --deadline 60s >/dev/null || fail "$n" "this was not so in time: $*"
}

demonstrate() {
  local n stored key want reader=$((peers - 1)) begin=$SECONDS
  say "starting $peers peers; copies of each block: $replicas"
  first_port=0
  start_peer 0
  wait_ready 0
  first_port=$(port_of 0)
  for ((n = 1; n < peers; n++)); do start_peer "$n"; done
  for ((n = 1; n < peers; n++)); do wait_ready "$n"; done
  for ((n = 0; n < peers; n++)); do printf '   peer %s: port %s, pid %s\n' "$n" "$(port_of "$n")" "${pids[n]}"; done

  if [[ $keep == yes ]]; then
    say "the peers run; from another terminal, for example"
    printf '   %s ctl --data %s/0/data status\n' "$KADRING" "$run"
    printf '   %s retrieve KEY DEST --bootstrap 127.0.0.1:%s\n' "$KADRING" "$first_port"
    converse "${!pids[@]}"
    whole=yes
    return
  fi

  if [[ -z $file ]]; then
    file=$run/original
    head -c "$((size * 1024 * 1024))" /dev/urandom >"$file"
  fi
  say "storing $(wc -c <"$file") bytes through the standard input of peer 0"
  stored=$(ask 0 "store $(quoted "$file")" 60)
  key=$(field key <<<"$stored")
  [[ $stored == *'"answer":"stored"'* && $key =~ ^[0-9a-f]{64}$ ]] || fail 0 "the file was not stored: $stored"
  printf '   key %s\n' "$key"
  table
  want=$different
  ((fewest >= replicas || fewest >= peers)) || fail 0 "a block has only $fewest copies"

  say "killing $kills peers with SIGKILL"
  for ((n = 1; n <= kills; n++)); do kill_peer "$n"; printf '   peer %s is dead\n' "$n"; done

  say "retrieving through peer $reader"
  stored=$(ask "$reader" "retrieve $key $(quoted "$run/back")" 60)
  [[ $stored == *'"answer":"retrieved"'* ]] || fail "$reader" "the file did not come back: $stored"
  cmp -- "$file" "$run/back" || fail "$reader" "the file that came back differs"
  printf '   %s bytes came back, equal byte by byte\n' "$(wc -c <"$run/back")"

  say "who holds what, before repair"
  table
  local goal=$((peers - kills < replicas ? peers - kills : replicas))
  say "waiting until each block has $goal live copies again"
  until_so "$reader" copies "$key" "$goal"
  say "who holds what, after repair"
  table
  ((different == want && fewest >= goal)) || fail 0 "replica sets are not full again"
  # Where fewer peers are left than copies were wanted, it may not be told whole while the dead are missed.
  if ((goal == replicas)); then
    say "having each holder hash what it has"
    printf '   '
    "$KADRING" ctl --data "$run/$reader/data" check "$key" --verify || fail "$reader" "the file is not safe"
  fi
  printf '\nAll of it is true, in %d s.\n' "$((SECONDS - begin))"
  whole=yes
}

# The classroom ring: what a peer has printed, pings apart, since the last step that was checked.
fresh() { { grep '^> ' "$run/$1/out" || true; } | { grep -v '^> Ping ' || true; } | tail -n +"$((seen[$1] + 1))"; }

printed() { [[ $(fresh "$1") == "$2" ]]; }

# prints N LINE…: peer N prints these lines now, and no others; without a LINE, nothing at all.
prints() {
  local n=$1 want='' line
  shift
  for line; do want+="> $line"$'\n'; done
  want=${want%$'\n'}
  until_true 60 printed "$n" "$want" || fail "$n" "$(printf 'peer %s should print\n%s\nand printed\n%s' "$n" "$want" "$(fresh "$n")")"
  seen[n]=$((seen[n] + $#))
  for line; do printf '   peer %2d > %s\n' "$n" "$line"; done
}

# new_successors N HEAD A B: the three lines that tell of a change.
new_successors() { prints "$1" "$2" "My new first successor is Peer $3" "My new second successor is Peer $4"; }

# nothing_more N…: none of these peers has printed anything else.
nothing_more() {
  local n
  for n; do prints "$n"; done
}

pinged_by() { grep -qx "> Ping request message received from Peer $2" "$run/$1/out"; }

pinged_or_dead() { pinged_by "$1" "$2" || ! alive "$1" || ! alive "$2"; }

knows() {
  tell "$1" table
  sleep 0.1
  [[ $(grep -A1 '^predecessor 1$' "$run/$1/out" | awk 'END { print $1 }') == "$2" ]]
}

# settled N…: each of these peers, named in the order of the circle, knows who stands before it.
settled() {
  local n before=${*: -1}
  for n; do
    until_true 20 knows "$n" "$before" || fail "$n" "peer $n never learnt that peer $before stands before it"
    before=$n
  done
}

same() { cmp -s -- "$1" "$2"; }

ring() {
  local n i who before example=("${members[@]}") begin=$SECONDS count=${#members[@]} interval=${interval:-1}
  say "starting the peers ${example[*]}, a ping each $interval s"
  for i in "${!example[@]}"; do
    n=${example[i]}
    seen[n]=0
    start "$n" "$run/$n" ring init "$n" "${example[(i + 1) % count]}" "${example[(i + 2) % count]}" "$interval"
  done
  for i in "${!example[@]}"; do
    n=${example[i]}
    for before in "${example[(i + count - 1) % count]}" "${example[(i + count - 2) % count]}"; do
      until_true 20 pinged_or_dead "$n" "$before" || fail "$n" "peer $n was never pinged by peer $before"
      for who in "$n" "$before"; do alive "$who" || fail "$who" "peer $who has ended"; done
    done
    printf '   peer %2d was pinged by its two predecessors\n' "$n"
  done
  settled "${example[@]}"

  if [[ $keep == yes ]]; then
    say "the ring runs; from another terminal, for example"
    printf '   %s ring join 15 %s %s\n' "$KADRING" "${example[0]}" "$interval"
    converse "${example[@]}"
    whole=yes
    return
  fi

  say "peer 15 joins through peer 4"
  seen[15]=0
  start 15 "$run/15" ring join 15 4 "$interval"
  for n in 4 5 8; do prints "$n" 'Peer 15 Join request forwarded to my successor'; done
  prints 9 'Peer 15 Join request forwarded to my successor' 'Successor Change request received' \
    'My new first successor is Peer 14' 'My new second successor is Peer 15'
  new_successors 14 'Peer 15 Join request received' 15 19
  prints 15 'Join request has been accepted' 'My first successor is Peer 19' 'My second successor is Peer 2'
  settled 2 4 5 8 9 14 15 19

  say "peer 9 quits"
  tell 9 Quit
  new_successors 8 'Peer 9 will depart from the network' 14 15
  new_successors 5 'Peer 9 will depart from the network' 8 14
  wait "${pids[9]}" || fail 9 "peer 9 ended with exit code $?"
  pids[9]=0
  settled 2 4 5 8 14 15 19

  say "peer 14 is killed"
  kill_peer 14
  new_successors 8 'Peer 14 is no longer alive' 15 19
  new_successors 5 'Peer 14 is no longer alive' 8 15
  settled 2 4 5 8 15 19

  say "Store 2067 at peer 8, which has such a file"
  head -c 300000 /dev/urandom >"$run/8/2067.pdf"
  cp -- "$run/8/2067.pdf" "$run/2067"
  tell 8 'Store 2067'
  for n in 8 15; do prints "$n" 'Store 2067 request forwarded to my successor'; done
  prints 19 'Store 2067 request accepted'
  for n in 19 2; do
    until_true 20 same "$run/2067" "$run/$n/2067.pdf" || fail "$n" "peer $n does not have 2067.pdf"
    printf '   peer %2d has 2067.pdf, equal byte by byte\n' "$n"
  done
  same "$run/2067" "$run/8/2067.pdf" || fail 8 "the original at peer 8 was changed"

  say "Request 4103 at peer 2; it lies in the folder of peer 8"
  head -c 1000000 /dev/urandom >"$run/8/4103.pdf"
  tell 2 'Request 4103'
  for n in 4 5; do prints "$n" 'Request for File 4103 has been received, but the file is not stored here'; done
  prints 8 'File 4103 is stored here' 'Sending file 4103 to Peer 2' 'The file has been sent'
  prints 2 'File request for 4103 has been sent to my successor' 'Peer 8 had File 4103' \
    'Receiving File 4103 from Peer 8' 'File 4103 received'
  same "$run/8/4103.pdf" "$run/2/received_4103.pdf" || fail 2 "received_4103.pdf differs from 4103.pdf"
  printf '   received_4103.pdf equals 4103.pdf, byte by byte\n'

  nothing_more 2 4 5 8 15 19
  printf '\nAll of it is as the assignment says, in %d s.\n' "$((SECONDS - begin))"
  whole=yes
}
seen=()   # ring: peer number -> lines that were checked

if [[ $ring == yes ]]; then ring; else demonstrate; fi
# Some of bash's errors leave a function and go on here.
[[ $whole == yes ]] || die "it broke off"
if [[ -n $trace ]]; then
  say "what each peer did, and when, stands in $trace; to see one store cross them:"
  printf '   %q trace %q/peer-*.jsonl --only store\n' "$KADRING" "$trace"
  "$KADRING" trace "$trace"/peer-*.jsonl --html "$trace/page.html" >/dev/null
  say "the same as a page for a browser: $trace/page.html"
fi
result=0
