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
  printf '#!/bin/sh\nprintf "answer to %%s" "$(cat)"\n' >"$tmp/answer"
  chmod +x "$tmp/answer"
  theirs=$((20000 + RANDOM % 10000))
  socat "TCP-LISTEN:$theirs,bind=127.0.0.1,reuseaddr" "EXEC:$tmp/answer" &
  pids+=($!)
  sleep 0.5
  seen=$(printf question | timeout 10 "$loopwork" nc 127.0.0.1 "$theirs")
  check "our nc ends first, socat" "$seen" "answer to question"
  wait "${pids[-1]}"; unset 'pids[-1]'

  # Our listener sends to its end, and still hears all that they say.
  for name in nc socat; do
    "$loopwork" nc -l 127.0.0.1 0 <"$tmp/part" >"$tmp/heard" 2>"$tmp/err" &
    pids+=($!)
    for _ in $(seq 100); do
      port=$(sed -n 's/^listening on tcp:..127.0.0.1:\([0-9]*\)$/\1/p' "$tmp/err" | head -n 1)
      [ -n "$port" ] && break
      sleep 0.05
    done
    if [ "$name" = nc ]; then said=$(timeout 10 nc -N 127.0.0.1 "$port" <"$tmp/part" | sha256sum)
    else said=$(timeout 10 socat -t 5 - "TCP:127.0.0.1:$port" <"$tmp/part" | sha256sum); fi
    wait "${pids[-1]}"; unset 'pids[-1]'
    check "our nc -l says, $name hears" "$said" "$want"
    check "$name says, our nc -l hears" "$(sha256sum <"$tmp/heard")" "$want"
  done
fi
