# Half-close with nc and socat, both ways.
if ! have nc || ! have socat; then
  skip nc "not found: apt-get install netcat-openbsd socat"
else
  start echo tcp --greet ''
  head -c 1000000 /dev/urandom >"$tmp/part"
  want=$(sha256sum <"$tmp/part")
  check "nc ends first, our echo" "$(timeout 10 nc -N 127.0.0.1 "$port" <"$tmp/part" | sha256sum)" "$want"
  check "socat ends first, our echo" "$(timeout 10 socat -t 5 - "TCP:127.0.0.1:$port" <"$tmp/part" | sha256sum)" "$want"
  stop

  # Their listener answers only after our end: our nc must end its side and go on reading.
  ask() { # NAME LISTENER…
    local name=$1; shift
    "$@" >"$tmp/theirs" 2>/dev/null &
    local pid=$!
    sleep 0.3
    printf 'question' | timeout 10 "$loopwork" nc 127.0.0.1 "$theirs" >"$tmp/ours"
    wait "$pid"
    check "$name" "$(cat "$tmp/ours")" "answer to question"
  }
  theirs=$((20000 + RANDOM % 10000))
  ask "our nc ends first, socat" socat "TCP-LISTEN:$theirs,bind=127.0.0.1,reuseaddr" "SYSTEM:printf \"answer to \\\$(cat)\""
  # Our listener reads to their end, and still answers.
  start nc -l 0 >/dev/null 2>&1 <"$tmp/part" || true
  check "nc reads all that our nc -l sends" "$(timeout 10 nc -d 127.0.0.1 "$port" | sha256sum)" "$want"
  kill "${pids[-1]}" 2>/dev/null; unset 'pids[-1]'
fi
