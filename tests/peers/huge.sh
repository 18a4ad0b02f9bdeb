# Bodies of 5 GiB (HUGE: another number of bytes) by curl and http_server.rs: up, down and both ways, with a length and in chunks.
# Every byte is compared where it arrives, and the server's memory must not grow. It takes a minute.
huge=${HUGE:-5368709120}
if ! have curl; then
  skip huge "curl not found: apt-get install curl"
else
  start_peer
  lines() { yes abcdefghijklmno | head -c "$1"; }
  # The five ways, N bytes each. Each says what arrived, or was wrong.
  up_chunks() { lines "$1" | curl -sS -T - "$url/lines"; }
  up_length() { truncate -s "$1" "$tmp/huge" && curl -sS -T "$tmp/huge" "$url/zeros"; }
  down() { curl -sS -w '%{stderr}%{size_download} bytes, ' "$url/$2/$1" 2>"$tmp/size" | cmp - <(lines "$1") 2>&1; cat "$tmp/size"; echo "as they should be"; }
  down_length() { down "$1" bytes; }
  down_chunks() { down "$1" parts; }
  both_ways() {
    lines "$1" | curl -sS -T - -w '%{stderr}%{size_download} bytes, ' "$url/echo" 2>"$tmp/size" | cmp - <(lines "$1") 2>&1
    cat "$tmp/size"; echo "as they should be"
  }
  for way in up_chunks up_length down_length down_chunks both_ways; do
    # The first megabytes make the buffers.
    check "$way, 8 MiB" "$($way 8388608)" "8388608 bytes, as they should be"
    before=$(peak)
    check "$way, $huge bytes" "$($way "$huge")" "$huge bytes, as they should be"
    grown=$(($(peak) - before))
    if [ "$grown" -lt 4096 ]; then ok "$way, memory" "$grown KiB more than $before KiB"; else bad "$way, memory" "$grown KiB more than $before KiB"; fi
  done
  stop
fi
