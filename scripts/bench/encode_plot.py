"""The plot of scripts/bench/encode, written as SVG by hand: no package is needed. Above: error against
bits per weight, one point per type, ours and the reference's. Below: their ratio per effort."""
import math

WIDTH, HEIGHT = 1000, 820
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 76, 500  # of the upper panel
LOW_TOP, LOW_BOTTOM = 590, 730              # of the lower panel
OURS, REFERENCE, GRID, TEXT, FAINT = "#1668a8", "#c2571a", "#e4e7eb", "#1f2933", "#66707c"
EFFORTS = (("fast", "#9cc4e4", 3.2), ("normal", OURS, 4.2), ("best", "#0b2f4e", 3.2))
STYLE = f"""text {{ font: 12px "DejaVu Sans", Verdana, sans-serif; fill: {TEXT} }}
.title {{ font-size: 17px; font-weight: bold }} .faint {{ fill: {FAINT} }}
.grid {{ stroke: {GRID} }} .axis {{ stroke: {FAINT} }}"""


class Canvas:
    def __init__(self):
        self.parts = []

    def line(self, x1, y1, x2, y2, style="", kind=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'class="{kind}" style="{style}"/>')

    def circle(self, x, y, radius, fill, stroke="none"):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" '
                          f'stroke="{stroke}" stroke-width="1.6"/>')

    def text(self, x, y, text, anchor="middle", kind="", turn=0):
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                          f'class="{kind}"{turned}>{text}</text>')

    def save(self, path):
        with open(path, "w", encoding="utf-8") as out:
            out.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                      f'width="{WIDTH}" height="{HEIGHT}">\n<style>{STYLE}</style>\n'
                      f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n')
            out.write("\n".join(self.parts) + "\n</svg>\n")


def overlap(a, b):
    """The area two boxes (x1, y1, x2, y2) share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def place_labels(canvas, points, others):
    """points: (x, y, name), the lowest error first; others: boxes to leave free. Each label takes the nearest free place around its
    point; further away a thin line leads to it."""
    taken = others + [(x - 6, y - 6, x + 6, y + 6) for x, y, _ in points]
    for x, y, name in points:
        width, best = 7.3 * len(name), None
        for radius in (9, 16, 26, 38, 52, 68):
            for step in range(16):
                angle = math.pi * (step % 2 * 2 - 1) * (step // 2 + (step % 2)) / 8
                across, down = radius * math.cos(angle), -radius * math.sin(angle)
                left = x + across - (width if across < -1 else width / 2 if abs(across) <= 1 else 0)
                box = (left - 2, y + down - 7, left + width + 2, y + down + 7)
                inside = box[0] > LEFT + 2 and box[2] < WIDTH - RIGHT and TOP < box[1] and box[3] < BOTTOM
                cost = sum(overlap(box, other) for other in taken) + radius + (0 if inside else 1e4)
                if best is None or cost < best[0]:
                    best = (cost, box, left, radius)
        _, box, left, radius = best
        taken.append(box)
        if radius > 12:
            near = min(max(x, box[0] + 2), box[2] - 2)
            canvas.line(x, y, near, (box[1] + box[3]) / 2 + (5 if box[3] < y else -5 if box[1] > y else 0),
                        f"stroke: {FAINT}; stroke-width: 0.7")
        canvas.text(left, (box[1] + box[3]) / 2 + 4, name, "start")


def upper_panel(canvas, lines, to_x):
    shown = [l for l in lines if l["encoder"] in ("reference", "normal")]
    shown = shown if any(l["encoder"] == "normal" for l in shown) else lines
    low = math.log10(min(l["ordinary_rows"] for l in shown)) - 0.25
    high = math.log10(max(l["ordinary_rows"] for l in shown)) + 0.15

    def to_y(error):
        return BOTTOM - (BOTTOM - TOP) * (math.log10(error) - low) / (high - low)

    for decade in range(math.floor(low), math.ceil(high)):
        for digit in range(1, 10):
            y = to_y(digit * 10.0 ** decade)
            if not TOP <= y < BOTTOM:
                continue
            canvas.line(LEFT, y, WIDTH - RIGHT, y, "" if digit == 1 else "stroke-width: 0.4", "grid")
            if digit == 1:
                power = f'<tspan dy="-5" style="font-size: 9px">{decade}</tspan>' if decade else ""
                canvas.text(LEFT - 8, y + 4, f"10{power}" if decade else "1", "end")
    reference = {l["type"]: l for l in shown if l["encoder"] == "reference"}
    points, others = [], []
    for l in sorted(shown, key=lambda l: l["ordinary_rows"]):
        if l["encoder"] == "reference":
            continue
        x, y = to_x(l["bits"]), to_y(l["ordinary_rows"])
        if l["type"] in reference:
            other = to_y(reference[l["type"]]["ordinary_rows"])
            canvas.line(x, y, x, other, f"stroke: {REFERENCE}; stroke-width: 1")
            canvas.circle(x, other, 3.8, "white", REFERENCE)
            others.append((x - 5, min(y, other) - 5, x + 5, max(y, other) + 5))
        canvas.circle(x, y, 4.2, OURS)
        points.append((x, y, l["type"]))
    place_labels(canvas, points, others)
    canvas.text(22, (TOP + BOTTOM) / 2, "relative error, weighted by importance", turn=-90)


def lower_panel(canvas, lines):
    """The ratio to the reference per effort, types in order of their bits."""
    rated = [l for l in lines if l["encoder"] != "reference" and l["ratio_weighted_rows"] is not None]
    names = sorted({(l["bits"], l["type"]) for l in rated})
    if not names:
        return
    bottom = max(0.0, math.floor(10 * min(l["ratio_weighted_mse"] for l in rated)) / 10 - 0.1)
    top = max(1.1, max(l["ratio_weighted_mse"] for l in rated) + 0.05)
    step = (WIDTH - RIGHT - LEFT) / len(names)

    def to_y(ratio):
        return LOW_BOTTOM - (LOW_BOTTOM - LOW_TOP) * (ratio - bottom) / (top - bottom)

    every = 0.1 if top - bottom < 0.7 else 0.2
    for i in range(math.ceil(bottom / every - 1e-9), math.floor(top / every + 1e-9) + 1):
        canvas.line(LEFT, to_y(every * i), WIDTH - RIGHT, to_y(every * i), "", "grid")
        canvas.text(LEFT - 8, to_y(every * i) + 4, f"{every * i:.1f}", "end")
    canvas.line(LEFT, to_y(1), WIDTH - RIGHT, to_y(1), f"stroke: {REFERENCE}; stroke-width: 1.6")
    for i, (_, name) in enumerate(names):
        x = LEFT + step * (i + 0.5)
        canvas.text(x + 4, LOW_BOTTOM + 18, name, "end", turn=-40)
        ratios = {l["encoder"]: to_y(l["ratio_weighted_mse"]) for l in rated if l["type"] == name}
        canvas.line(x, min(ratios.values()), x, max(ratios.values()), f"stroke: {FAINT}; stroke-width: 0.8")
        for effort, colour, radius in EFFORTS:
            if effort in ratios:
                canvas.circle(x, ratios[effort], radius, colour)
    canvas.text(22, (LOW_TOP + LOW_BOTTOM) / 2, "ours / reference", turn=-90)
    legend = LEFT + 4
    for effort, colour, radius in EFFORTS:
        canvas.circle(legend, LOW_TOP - 14, radius, colour)
        canvas.text(legend + 9, LOW_TOP - 10, effort, "start")
        legend += 34 + 8 * len(effort)
    canvas.text(WIDTH - RIGHT, LOW_TOP - 10, "sum of weighted squared errors over all rows; 1 = the reference",
                "end", "faint")


def write_svg(path, lines):
    """lines: as scripts/bench/encode has them; `ordinary_rows` of all is above zero."""
    canvas = Canvas()
    bits = [l["bits"] for l in lines]
    first, last = math.floor(min(bits)), math.ceil(max(bits) + 0.1)

    def to_x(value):
        return LEFT + (WIDTH - RIGHT - LEFT) * (value - first) / (last - first)

    canvas.text(LEFT, 30, "What each type loses", "start", "title")
    canvas.circle(LEFT + 4, 52, 4.2, OURS)
    canvas.text(LEFT + 13, 56, "Tamis, normal effort", "start")
    canvas.circle(LEFT + 170, 52, 3.8, "white", REFERENCE)
    canvas.text(LEFT + 179, 56, "reference encoder", "start")
    canvas.text(WIDTH - RIGHT, 56, "mean over ordinary rows of sum w(x - y)² / sum wx²", "end", "faint")
    for i in range(first, last + 1):
        canvas.line(to_x(i), TOP, to_x(i), BOTTOM, "", "grid")
        canvas.text(to_x(i), BOTTOM + 18, str(i))
    canvas.text((LEFT + WIDTH - RIGHT) / 2, BOTTOM + 38, "bits per weight")
    upper_panel(canvas, lines, to_x)
    canvas.line(LEFT, BOTTOM, WIDTH - RIGHT, BOTTOM, "", "axis")
    lower_panel(canvas, lines)
    canvas.save(path)
