# wrk, 256 connections for 30 s: not one error.
if ! have wrk; then
  skip wrk "not found: apt-get install wrk"
else
  start echo http --greet hello
  wrk -t 1 -c 256 -d "${WRK_SECONDS:-30}s" "$url/" | tee "$tmp/wrk" | grep -E 'Requests/sec|requests in|Latency|errors|Non-2xx'
  if grep -qE 'Socket errors|Non-2xx' "$tmp/wrk"; then bad "wrk -c 256" "errors"; else ok "wrk -c 256" "no error"; fi
  stop
fi
