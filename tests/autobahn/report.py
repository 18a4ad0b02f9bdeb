"""What Autobahn says: report.py FOLDER AGENT SIDE WANTED. Counts the cases, prints the close codes with which our side
ended those in which the protocol is broken, and fails if one is not as it should be. SIDE is server or client; WANTED is how
many cases there are."""
import collections
import json
import pathlib
import sys

# No verdict: what the RFC leaves open (data behind a Close, and codes that nobody has registered).
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
# The cases in which the protocol is broken, and the code that answers it (RFC 6455 §7.4.1).
BROKEN = {
    1002: "2.5 3.1 3.2 3.3 3.4 3.5 3.6 3.7 4.1.1 4.1.2 4.1.3 4.1.4 4.1.5 4.2.1 4.2.2 4.2.3 4.2.4 4.2.5 5.1 5.2 5.9 5.10 5.11"
    " 5.12 5.13 5.14 5.15 5.16 5.17 5.18 7.3.2 7.3.6 7.9.1 7.9.2 7.9.3 7.9.4 7.9.5 7.9.6 7.9.7 7.9.8 7.9.9",
    1007: "6.3.1 6.3.2 6.4.1 6.4.2 6.4.3 6.4.4 6.6.1 6.6.3 6.6.4 6.6.6 6.6.8 6.6.10 6.8.1 6.8.2 6.10.1 6.10.2 6.10.3 6.11.5"
    " 6.12.1 6.12.2 6.12.3 6.12.4 6.12.5 6.12.6 6.12.7 6.12.8 6.13.1 6.13.2 6.13.3 6.13.4 6.13.5 6.14.1 6.14.2 6.14.3 6.14.4"
    " 6.14.5 6.14.6 6.14.7 6.14.8 6.14.9 6.14.10 6.15.1 6.16.1 6.16.2 6.16.3 6.17.1 6.17.2 6.17.3 6.17.4 6.17.5 6.18.1 6.18.2"
    " 6.18.3 6.18.4 6.18.5 6.19.1 6.19.2 6.19.3 6.19.4 6.19.5 6.20.1 6.20.2 6.20.3 6.20.4 6.20.5 6.20.6 6.20.7 6.21.1 6.21.2"
    " 6.21.3 6.21.4 6.21.5 6.21.6 6.21.7 6.21.8 7.5.1",
}


def main(folder, agent, side, wanted):
    folder = pathlib.Path(folder)
    cases = json.loads((folder / "index.json").read_text())[agent]
    counts = collections.Counter(max(c["behavior"], c["behaviorClose"], key=rank) for c in cases.values())
    failures = [
        f"{case}: {c['behavior']}, close {c['behaviorClose']}"
        for case, c in cases.items()
        if any(v != "OK" and not (v == "INFORMATIONAL" and case in INFORMATIONAL) for v in (c["behavior"], c["behaviorClose"]))
    ]
    if len(cases) != int(wanted):
        failures.append(f"{len(cases)} cases, not {wanted}")
    told = collections.Counter()
    for code, broken in BROKEN.items():
        for case in broken.split():
            if case not in cases:
                failures.append(f"{case} was not run")
                continue
            seen = json.loads((folder / cases[case]["reportfile"]).read_text())["remoteCloseCode"]
            told[code] += seen == code
            if seen != code:
                failures.append(f"{case}: ended with {seen}, not {code}")
    print(f"autobahn, {side}: {len(cases)} cases: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common()))
    for code, broken in BROKEN.items():
        print(f"  broken protocol, answered by {code}: {told[code]} of {len(broken.split())}")
    for failure in failures:
        print(f"  FAIL {failure}")
    return 1 if failures else 0


def rank(verdict):
    return ["OK", "INFORMATIONAL", "UNIMPLEMENTED", "NON-STRICT", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "FAILED"].index(verdict)


sys.exit(main(*sys.argv[1:]))
