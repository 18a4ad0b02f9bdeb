# slowhttptest in its four modes, 200 connections each: heads and bodies that drip, ranges, readers that hardly read. Others
# are served meanwhile, the memory stays small, and heads that drip are cut off at their deadline of 10 s.
if ! have slowhttptest; then
  skip slowhttptest "not found: apt-get install slowhttptest"
else
  mkdir "$tmp/slow" && head -c 1048576 /dev/zero >"$tmp/slow/file"
  # slow NAME LAST OPTION…: runs one mode; its last line has to be LAST, or anything if that is empty.
  slow() {
    local name=$1 last=$2 seen
    shift 2
    timeout 60 slowhttptest "$@" -c 200 -r 200 -i 5 -p 3 2>&1 | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' >"$tmp/slow.out"
    seen=$(sed -n 's/^Exit status: *//p' "$tmp/slow.out" | tail -n 1)
    if grep -q 'service available: *NO' "$tmp/slow.out"; then bad "slowhttptest $name" "others were not served"
    elif ! grep -q 'service available: *YES' "$tmp/slow.out"; then bad "slowhttptest $name" "$(tail -n 1 "$tmp/slow.out")"
    elif [ -n "$last" ] && [ "$seen" != "$last" ]; then bad "slowhttptest $name" "saw «$seen», wanted «$last»"
    else ok "slowhttptest $name" "others are served; $seen"; fi
  }
  start echo http --greet hello
  slow "heads" "No open connections left" -H -l 20 -u "$url/"
  slow "bodies" "" -B -s 8192 -l 15 -u "$url/"
  peak=$(awk '/VmHWM/ {print $2}' "/proc/${pids[-1]}/status")
  if [ "$peak" -lt 32768 ]; then ok "memory" "at most $peak KiB"; else bad "memory" "$peak KiB"; fi
  stop
  start serve "$tmp/slow" -p 0
  slow "ranges" "" -R -l 15 -u "$url/file"
  slow "reading" "" -X -w 512 -y 1024 -n 5 -z 32 -k 3 -l 15 -u "$url/file"
  have curl && check "a reader beside them" "$(curl -sS -o /dev/null -w '%{size_download}' "$url/file" 2>/dev/null)" 1048576
  peak=$(awk '/VmHWM/ {print $2}' "/proc/${pids[-1]}/status")
  if [ "$peak" -lt 65536 ]; then ok "memory" "at most $peak KiB"; else bad "memory" "$peak KiB"; fi
  stop
fi
