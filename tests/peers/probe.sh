# Raw requests over real sockets, each whole and in two parts, with what must come back (probe.py). `python3 probe.py PORT`
# asks any other server the same; what is said of their parsers holds for them, too, while methods and limits are ours.
if ! have python3; then
  skip probe "python3 not found: apt-get install python3"
else
  start_peer mirror
  timeout 600 python3 "$here/probe.py" "$port" >"$tmp/probe" || bad probe "it did not come to its end"
  while IFS=$'\t' read -r verdict name seen; do [ "$verdict" = ok ] || "$verdict" "probe, $name" "$seen"; done <"$tmp/probe"
  check "raw requests answered as they should be" "$(grep -c '^ok' "$tmp/probe")" "$(python3 "$here/probe.py" count)"
  stop
fi
