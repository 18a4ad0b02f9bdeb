# `loopwork get` beside curl: each command line of get-table is run by both against the same server (get-server.mjs), in a
# folder of its own; stdout, files and exit code have to be the same, and stderr is empty in both or in none. What it draws
# on a terminal is looked at by get-terminal.py.
if ! have curl; then
  skip get "not found: apt-get install curl"
elif ! have node; then
  skip get "node not found: apt-get install nodejs"
else
  launch node "$here/get-server.mjs"
  get_url=$url get_port=$port
  get_wild=$(sed -n 's/^wild //p' "$tmp/out.$((${#pids[@]} - 1))")
  # Python's server speaks HTTP/1.0, and ends each connection.
  if have python3; then
    mkdir -p "$tmp/py"
    seq 100000 >"$tmp/py/numbers"
    (cd "$tmp/py" && exec python3 -u -m http.server --bind 127.0.0.1 0 >"$tmp/py.out" 2>/dev/null) &
    pids+=($!)
    for _ in $(seq 200); do grep -q port "$tmp/py.out" 2>/dev/null && break; sleep 0.05; done
    get_py="http://127.0.0.1:$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$tmp/py.out" | head -n 1)"
  fi
  unset http_proxy all_proxy ALL_PROXY no_proxy NO_PROXY

  # in_folder NAME PROGRAM…: runs it in a new folder with some files, and keeps all that came of it.
  in_folder() {
    local at="$tmp/get.$1"
    rm -rf "$at"
    mkdir -p "$at/files"
    printf 'line one\nline two\n' >"$at/files/lines"
    printf 'abcde' >"$at/files/begun"
    printf '127.0.0.1\tFALSE\t/\tFALSE\t0\tkept\tyes\n' >"$at/files/cookies"
    printf '%%{http_code}\\n' >"$at/files/format"
    printf 'from stdin\n' >"$at/stdin"
    (cd "$at/files" && timeout 60 "${@:2}" <"$at/stdin" >"$at/out" 2>"$at/err")
    echo $? >"$at/code"
    # The comments in a jar are each program's own, and so is its order.
    [ ! -f "$at/files/jar" ] || sed '/^# /d;/^$/d' "$at/files/jar" | sort >"$at/jar"
    [ ! -f "$at/jar" ] || mv "$at/jar" "$at/files/jar"
  }

  number=0
  while IFS= read -r line; do
    case $line in
      ''|'#'*) continue ;;
      *Y/*) [ -n "${get_py:-}" ] || { skip get "$line: python3 not found"; continue; } ;;
    esac
    number=$((number + 1))
    # U: the server, W: the wild one, Y: Python's, P: the server's port, N: a number of its own for each program.
    words() { printf '%s' "$line" | sed "s|U/|$get_url/|g;s|W/|http://127.0.0.1:$get_wild/|g;s|Y/|${get_py:-}/|g;s|@P|$get_port|g;s|@N|$number-$1|g"; }
    eval "theirs=($(words 0))"
    eval "ours=($(words 0 | sed "s|$number-0|$number-1|g"))"
    in_folder curl curl -A agent "${theirs[@]}"
    in_folder ours "$loopwork" get -A agent "${ours[@]}"
    differs=
    cmp -s "$tmp/get.curl/out" "$tmp/get.ours/out" || differs="$differs stdout"
    cmp -s "$tmp/get.curl/code" "$tmp/get.ours/code" || differs="$differs code"
    diff -r "$tmp/get.curl/files" "$tmp/get.ours/files" >"$tmp/get.files" || differs="$differs files"
    case $line in *-s*) ;; *) differs="$differs (say -s)" ;; esac
    [ -s "$tmp/get.curl/err" ] && them=1 || them=0
    [ -s "$tmp/get.ours/err" ] && us=1 || us=0
    [ $them = $us ] || differs="$differs stderr"
    if [ -z "$differs" ]; then
      ok "get" "$line ($(cat "$tmp/get.ours/code"))"
    else
      bad "get" "$line:$differs"
      for who in curl ours; do
        echo "  $who: code $(cat "$tmp/get.$who/code"), stdout:"; head -c 1500 "$tmp/get.$who/out" | sed 's/^/    /'; echo
        head -c 500 "$tmp/get.$who/err" | sed 's/^/    stderr: /'; echo
      done
      head -n 20 "$tmp/get.files" | sed 's/^/    /'
    fi
  done <"$here/get-table"
  [ -z "${get_py:-}" ] || stop

  # Bodies go through: neither is kept.
  if have python3; then
    head -c 209715200 /dev/zero >"$tmp/long"
    start echo http
    peak=$(timeout 300 python3 -c 'import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$loopwork" get -s -T "$tmp/long" -o "$tmp/back" "$url/")
    stop
    cmp -s "$tmp/long" "$tmp/back" && same=same || same=differs
    if [ "$same ${peak% *}" = "same 0" ] && [ "${peak#* }" -lt 32768 ]; then ok "get, 200 MiB up and down" "${peak#* } KiB"
    else bad "get, 200 MiB up and down" "$same, $peak"; fi
    rm -f "$tmp/long" "$tmp/back"
  fi
  # What -v tells of the heads, both ways.
  said() { "$@" 2>&1 >"$tmp/got" | tr -d '\r' | sed 's/ *$//' | grep '^[<>]' | sort -u; }
  for line in "$get_url/typed" "-d a=b $get_url/hints" "-L $get_url/302/301/chunks" "-I $get_url/range"; do
    # shellcheck disable=SC2086
    check "get -v $line" "$(said "$loopwork" get -sv -A a $line | cksum)" "$(said curl -sv -A a $line | cksum)"
  done
  if have python3; then
    timeout 120 python3 "$here/get-terminal.py" "$loopwork" >"$tmp/terminal" || bad get "get-terminal.py did not end well"
    while IFS=$'\t' read -r verdict name seen; do "$verdict" "get on a terminal, $name" "$seen"; done <"$tmp/terminal"
  else
    skip "get on a terminal" "python3 not found: apt-get install python3"
  fi
  # Two programs that find nobody fail alike.
  check "get, its server lived" "$(curl -sS -o "$tmp/got" -w '%{http_code}' "$get_url/")" 200
  stop
fi
