# nginx and HAProxy in front of us: no request that they pass on as one is answered as two, and nobody gets another's answer.
if ! have python3; then
  skip frontends "python3 not found: apt-get install python3"
else
  PATH=$PATH:/usr/sbin
  start echo http
  for front in nginx haproxy; do
    if ! have "$front"; then skip "$front" "not found: apt-get install $front"; continue; fi
    while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
      < <(timeout 120 python3 "$here/frontends_peer.py" "$front" "$port" "$tmp/$front" || printf 'bad\t%s\tit did not come to its end\n' "$front")
  done
  stop
fi
