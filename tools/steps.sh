# Sourced by quickstart, check and tools/install_deps: runs a command as a named step, with elapsed time and the
# last line of its output on a terminal (in a pipe once a minute), one line per step, and the tail of its log when it fails.
# shellcheck shell=bash

EDGEWISE_LOGS=${EDGEWISE_LOGS:-$PWD/build/logs}

# Compile jobs: one per usable core, but no more than memory allows. The heaviest file (HTTP) takes about 1 GB.
compile_jobs() {
  local cores gigabytes
  cores=$(nproc)
  gigabytes=$(awk '/^MemAvailable/ {print int($2 / 1200000)}' /proc/meminfo)
  [ "$gigabytes" -ge 1 ] || gigabytes=1
  echo $((cores < gigabytes ? cores : gigabytes))
}

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# The part of a log worth showing while it grows: the last line that is not empty, cut to the terminal.
last_line() {
  tail -c 2000 "$1" 2>/dev/null | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | tr -cd '[:print:]' | cut -c1-"$2"
}

# In a pipe: where the step is, so that whoever follows a log sees that it lives. Ends with the process.
say_once_a_minute() {
  local title=$1 log=$2 started=$3 pid=$4 said=$SECONDS
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    if [ $((SECONDS - said)) -ge 60 ] && kill -0 "$pid" 2>/dev/null; then
      said=$SECONDS
      printf '  ...   %s  %s  %s\n' "$(clock $((SECONDS - started)))" "$title" "$(last_line "$log" 80)"
    fi
  done
}

# step TITLE COMMAND...: the command's exit status; its output is in $EDGEWISE_LOGS/<title>.log. A command that exits with
# $SKIPPED says in its last line why it did nothing.
SKIPPED=77
step() {
  local title=$1 log started=$SECONDS status=0 pid
  shift
  mkdir -p "$EDGEWISE_LOGS"
  log=$EDGEWISE_LOGS/$(tr -cs '[:alnum:]\n' '-' <<<"$title" | sed 's/-*$//').log
  "$@" >"$log" 2>&1 &
  pid=$!
  if [ -t 1 ]; then
    local width
    width=$(($(tput cols 2>/dev/null || echo 80) - ${#title} - 14))
    while kill -0 "$pid" 2>/dev/null; do
      printf '\r\033[K  %s  %s  %s' "$title" "$(clock $((SECONDS - started)))" "$(last_line "$log" $((width > 10 ? width : 10)))"
      sleep 0.5
    done
    printf '\r\033[K'
  else
    say_once_a_minute "$title" "$log" "$started" "$pid" &
  fi
  wait "$pid" || status=$?
  if [ "$status" -eq 0 ]; then
    printf '  ok    %s  %s\n' "$(clock $((SECONDS - started)))" "$title"
  elif [ "$status" -eq "$SKIPPED" ]; then
    printf '  skip  %s  %s: %s\n' "$(clock $((SECONDS - started)))" "$title" "$(last_line "$log" 200)"
  else
    printf '  FAIL  %s  %s (exit %d). Last lines of %s:\n' "$(clock $((SECONDS - started)))" "$title" "$status" "$log"
    tail -n 25 "$log" | sed 's/^/    | /'
  fi
  return "$status"
}
