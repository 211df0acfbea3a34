"""The report of a campaign: report.json, summary.txt and timeline.svg."""
import glob
import json
import os
import shutil
import statistics
import sys
import time
from html import escape

MINUTE_PX = 240
ROW_PX = 26
LEFT_PX = 90
COLOURS = ("#2f6db5", "#3b8f4f", "#b5702f", "#7d4fa8", "#2f9a9a")


def say(text):
    print(text, file=sys.stderr, flush=True)


def spread(values):
    if not values:
        return "none"
    ordered = sorted(values)
    return "median %.2f, p90 %.2f, longest %.2f" % (
        statistics.median(ordered), ordered[-(-9 * len(ordered) // 10) - 1], ordered[-1])


def summary(found):
    events = found["events"]
    excused = [o for o in found.get("overlaps", []) if o["excused"]]
    counts = {}
    for event in events:
        for fault in event["faults"]:
            name = fault.rsplit(" (", 1)[0]
            counts[name] = counts.get(name, 0) + 1
    lines = [
        "seed %d, %d members, ttl %g s, %.1f minutes, asynchronous replication" % (
            found["seed"], found["nodes"], found["ttl_s"], found["watched_s"] / 60),
        "rounds of faults: %d, with %d faults; reigns: %d" % (
            len(events), sum(counts.values()), len(found["reigns"])),
        "acknowledged rows: %d, of which lost: %d" % (
            found.get("acknowledged_rows", 0), found.get("lost_rows", 0)),
        "two servers acknowledging: %d instants; beside them %d after a whole node was frozen (longest %.1f ms)" % (
            sum(not o["excused"] for o in found.get("overlaps", [])), len(excused),
            max((1000 * o["length_s"] for o in excused), default=0)),
        "outage from the beginning of the fault, s: " + spread([e["outage_s"] for e in events
                                                                if "outage_s" in e]),
        "writes again after the end of the fault, s: " + spread([e["writes_after_s"] for e in events
                                                                 if "writes_after_s" in e]),
        "everybody runs and streams, s: " + spread([e["well_after_s"] for e in events if "well_after_s" in e]),
        "", "faults:"]
    lines += ["  %3d  %s" % (count, name) for name, count in sorted(counts.items(), key=lambda i: (-i[1], i[0]))]
    lines += ["", "rows lost, by round (the faults that may cost some in asynchronous mode):"]
    lines += ["  %6d  %s at %.1f s" % (e["lost_rows"], ", ".join(e["faults"]), e["at_s"])
              for e in events if e.get("lost_rows")] or ["  none"]
    lines += ["", "findings: %d" % len(found["findings"])]
    lines += ["  %.1f s  %s" % (f["at_s"], f["text"]) for f in found["findings"]]
    return "\n".join(lines) + "\n"


def timeline_svg(found):
    """A row per server with the stretches in which it acknowledged, and the faults above them."""
    def x(at_s):
        return LEFT_PX + at_s / 60 * MINUTE_PX

    servers = ["node%d" % (i + 1) for i in range(found["nodes"])]
    width, height = x(found["watched_s"]) + 20, ROW_PX * (len(servers) + 2) + 20
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="sans-serif" '
           'font-size="11">' % (width, height), '<rect width="100%" height="100%" fill="white"/>']
    for minute in range(int(found["watched_s"] // 60) + 1):
        out.append('<line x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}" stroke="#ddd"/>'
                   '<text x="{2:.1f}" y="{1}" fill="#888">{3} min</text>'.format(
                       x(60 * minute), height - 6, x(60 * minute) + 2, minute))
    for event in found["events"]:
        end_s = event["healed_s"] + event.get("writes_after_s", 0)
        out.append('<rect x="%.1f" y="4" width="%.1f" height="%d" fill="%s" opacity="0.6"><title>%s</title></rect>' % (
            x(event["at_s"]), max(2, x(end_s) - x(event["at_s"])), ROW_PX - 8,
            "#c0392b" if event.get("lost_rows") else "#e0a030", escape(
                "%.1f s: %s; lost rows %d" % (event["at_s"], ", ".join(event["faults"]), event.get("lost_rows", 0)))))
    out.append('<text x="4" y="18">faults</text>')
    for idx, server in enumerate(servers):
        out.append('<text x="4" y="%d">%s</text>' % (ROW_PX * (idx + 1) + 18, server))
    for reign in found["reigns"]:
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s</title></rect>' % (
            x(reign["first_s"]), ROW_PX * (servers.index(reign["server"]) + 1) + 4,
            max(1, x(reign["last_s"]) - x(reign["first_s"])), ROW_PX - 8,
            COLOURS[reign["timeline"] % len(COLOURS)], escape("timeline %d, %.1f to %.1f s, %d rows" % (
                reign["timeline"], reign["first_s"], reign["last_s"], reign["rows"]))))
    for finding in found["findings"]:
        out.append('<line x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}" stroke="red"><title>{2}</title></line>'.format(
            x(finding["at_s"]), height, escape(finding["text"])))
    return "\n".join(out + ["</svg>"]) + "\n"


def write(found, folder):
    found = dict(found, date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), load=os.getloadavg())
    with open(os.path.join(folder, "report.json"), "w") as out:
        json.dump(found, out, indent=2)
        out.write("\n")
    with open(os.path.join(folder, "summary.txt"), "w") as out:
        out.write(summary(found))
    with open(os.path.join(folder, "timeline.svg"), "w") as out:
        out.write(timeline_svg(found))
    print(summary(found), end="")
    print("%d passed, %d failed" % (len(found["events"]), len(found["findings"])))


def keep_logs(from_folder, folder):
    for path in glob.glob(os.path.join(from_folder, "c", "node*", "pgheir.*")):
        to = os.path.join(folder, os.path.basename(os.path.dirname(path)))
        os.makedirs(to, exist_ok=True)
        shutil.copy(path, to)
