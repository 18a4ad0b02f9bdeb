# Headless Chromium: a page of `serve` and its WebSocket; a listing, an application of one page, and a video in which one seeks.
# Two pages of the example chat. A page and its WebSocket by TLS. PICTURES=docs/img tests/peers/run chromium takes the pictures of the documentation anew.
modules=$(realpath -m "${CARGO_TARGET_DIR:-target}/peers/node") venv=${CARGO_TARGET_DIR:-target}/peers/venv
if ! have chromium || ! have node; then
  skip chromium "not found: apt-get install chromium nodejs npm"
elif ! [ -d "$modules/node_modules/playwright-core" ] &&
  ! npm install --silent --no-audit --no-fund --prefix "$modules" playwright-core@1 >/dev/null 2>&1; then
  skip chromium "npm cannot install playwright-core"
elif ! "$venv/bin/python" -c 'import av, numpy' 2>/dev/null &&
  ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet av numpy; } >/dev/null 2>&1; then
  skip chromium "pip cannot install av and numpy, which make the video"
else
  site=$tmp/listed
  mkdir -p "$tmp/echo" "$site/pictures" "$tmp/video"
  cp "$here/page.html" "$tmp/echo/index.html"
  printf 'a name' >"$site/<b>&.txt"
  printf 'hello\n' >"$site/été.txt"
  printf '<!doctype html><p>small</p>' >"$site/small.html"
  truncate -s 12345678 "$site/large.bin"
  printf '<svg xmlns="http://www.w3.org/2000/svg"/>' >"$site/pictures/one.svg"
  touch -d '2026-01-02 03:04:05' "$site"/* "$site"
  "$venv/bin/python" "$here/video.py" "$tmp/video/two-minutes.webm"
  printf '<!doctype html><video src="two-minutes.webm" preload="metadata" muted></video>' >"$tmp/video/video.html"
  start serve "$tmp/echo" -p 0 --ws-echo /echo; echo=$url
  start serve "$tmp/echo" -p 0 --ws-echo /echo --tls-self-signed; secure=$url
  start serve "$site" -p 0; listing=$url
  start serve "$here/spa" -p 0 --spa; app=$url
  start serve "$tmp/video" -p 0; video=$url
  cargo build --quiet -p loopwork --example chat || exit 1
  launch "${CARGO_TARGET_DIR:-target}/debug/examples/chat" 127.0.0.1:0; chat=$url
  while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
    < <(MODULES=$modules timeout 180 node "$here/browser.mjs" "$echo" "$listing" "$app" "$video" "$chat" "$secure" ${PICTURES:+"$PICTURES"})
  stop; stop; stop; stop; stop; stop
fi
