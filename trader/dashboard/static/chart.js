// Equity and drawdown on one canvas: no library, bounded memory, drawn at most once a frame.
import { dateTime, number, percent } from "./format.js";

const MOST_POINTS = 4000;
const LEFT = 14;
const RIGHT = 74;
const BOTTOM = 24;
const TOP = 10;

function niceStep(span, count) {
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw) ?? 10 * power;
}

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 10080, 20160, 43200, 86400, 172800]
  .map((minutes) => minutes * 60000);

export class EquityChart {
  constructor(canvas, tip, empty) {
    this.canvas = canvas;
    this.tip = tip;
    this.empty = empty;
    this.points = [];
    this.baseline = null;
    this.rangeMs = 0;
    this.hover = null;
    this.queued = false;
    new ResizeObserver(() => this.redraw()).observe(canvas.parentElement);
    canvas.addEventListener("pointermove", (event) => { this.hover = event.offsetX; this.redraw(); });
    canvas.addEventListener("pointerleave", () => { this.hover = null; this.redraw(); });
  }

  replace(points) {
    this.points = points.slice(-MOST_POINTS);
    this.redraw();
  }

  append(points) {
    const last = this.points.length ? this.points[this.points.length - 1][0] : -Infinity;
    const fresh = points.filter((point) => point[0] > last);
    if (!fresh.length) return;
    this.points.push(...fresh);
    if (this.points.length > MOST_POINTS) {
      // the older half gives up every second point: the shape stays, memory doesn't grow
      const half = this.points.length >> 1;
      this.points = this.points.filter((_, index) => index >= half || index % 2 === 0);
    }
    this.redraw();
  }

  redraw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => { this.queued = false; this.draw(); });
  }

  visible() {
    if (!this.rangeMs || !this.points.length) return this.points;
    const from = this.points[this.points.length - 1][0] - this.rangeMs;
    return this.points.filter((point) => point[0] >= from);
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { line: of("--accent"), grid: of("--line-soft"), text: of("--muted"), loss: of("--loss"), base: of("--muted"), ink: of("--text") };
  }

  draw() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(box.width));
    const height = Math.max(1, Math.round(box.height));
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const ctx = this.canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const points = this.visible();
    this.empty.hidden = points.length > 1;
    if (points.length < 2) { this.tip.hidden = true; return; }
    const plot = this.frame(points, width, height);
    ctx.font = "12px system-ui, sans-serif";
    this.drawGrid(ctx, plot);
    this.drawDrawdown(ctx, plot, points);
    this.drawEquity(ctx, plot, points);
    this.drawLast(ctx, plot, points[points.length - 1]);
    this.drawHover(ctx, plot, points);
  }

  frame(points, width, height) {
    let low = Infinity;
    let high = -Infinity;
    let deepest = 0;
    for (const [, equity, drawdown] of points) {
      if (equity < low) low = equity;
      if (equity > high) high = equity;
      if (drawdown > deepest) deepest = drawdown;
    }
    if (this.baseline !== null && this.baseline > low - (high - low) && this.baseline < high + (high - low)) {
      low = Math.min(low, this.baseline);
      high = Math.max(high, this.baseline);
    }
    const pad = Math.max((high - low) * 0.08, Math.abs(high) * 1e-5);
    const start = points[0][0];
    const end = Math.max(points[points.length - 1][0], start + 1);
    const split = TOP + (height - TOP - BOTTOM) * 0.74;
    const right = width - RIGHT;
    const floor = height - BOTTOM;
    low -= pad;
    high += pad;
    deepest = Math.max(deepest * 1.1, 0.0005);
    return {
      colours: this.colours(), width, height, split, right, floor, start, end, low, high, deepest,
      x: (t) => LEFT + ((t - start) / (end - start)) * (right - LEFT),
      y: (v) => TOP + ((high - v) / (high - low)) * (split - TOP - 8),
      d: (v) => split + 8 + (v / deepest) * (floor - split - 8),
    };
  }

  drawGrid(ctx, plot) {
    const { colours } = plot;
    ctx.strokeStyle = colours.grid;
    ctx.fillStyle = colours.text;
    ctx.lineWidth = 1;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    const step = niceStep(plot.high - plot.low, (plot.split - TOP) / 46);
    const digits = step >= 10 ? 0 : step >= 1 ? 1 : 2;
    for (let value = Math.ceil(plot.low / step) * step; value <= plot.high; value += step) {
      this.rule(ctx, LEFT, plot.right, plot.y(value));
      ctx.fillText(number(value, digits), plot.right + 8, plot.y(value));
    }
    this.rule(ctx, LEFT, plot.right, plot.d(0));
    ctx.fillText("0 %", plot.right + 8, plot.d(0) + 1);
    ctx.fillText(percent(-plot.deepest, plot.deepest < 0.01 ? 2 : 1), plot.right + 8, plot.floor - 3);
    this.drawTimes(ctx, plot);
    if (this.baseline !== null && this.baseline > plot.low && this.baseline < plot.high) {
      ctx.save();
      ctx.setLineDash([4, 4]);
      ctx.strokeStyle = colours.base;
      ctx.globalAlpha = 0.55;
      this.rule(ctx, LEFT, plot.right, plot.y(this.baseline));
      ctx.restore();
    }
  }

  drawTimes(ctx, plot) {
    const span = plot.end - plot.start;
    const most = Math.max(2, (plot.right - LEFT) / 110);
    const step = TIME_STEPS.find((candidate) => span / candidate <= most) ?? TIME_STEPS[TIME_STEPS.length - 1];
    ctx.textAlign = "center";
    for (let t = Math.ceil(plot.start / step) * step; t <= plot.end; t += step) {
      const x = plot.x(t);
      if (x < LEFT + 20 || x > plot.right - 20) continue;
      const text = new Date(t).toISOString();
      const midnight = t % 86400000 === 0;
      ctx.globalAlpha = midnight ? 1 : 0.6;
      this.pole(ctx, x, TOP, plot.floor);
      ctx.globalAlpha = 1;
      ctx.fillText(midnight || step >= 86400000 ? text.slice(5, 10) : text.slice(11, 16), x, plot.floor + 12);
    }
  }

  rule(ctx, from, to, y) {
    ctx.beginPath();
    ctx.moveTo(from, Math.round(y) + 0.5);
    ctx.lineTo(to, Math.round(y) + 0.5);
    ctx.stroke();
  }

  pole(ctx, x, from, to) {
    ctx.beginPath();
    ctx.moveTo(Math.round(x) + 0.5, from);
    ctx.lineTo(Math.round(x) + 0.5, to);
    ctx.stroke();
  }

  drawEquity(ctx, plot, points) {
    const path = new Path2D();
    points.forEach(([t, equity], index) => {
      if (index === 0) path.moveTo(plot.x(t), plot.y(equity));
      else path.lineTo(plot.x(t), plot.y(equity));
    });
    const area = new Path2D(path);
    area.lineTo(plot.x(plot.end), plot.split);
    area.lineTo(plot.x(plot.start), plot.split);
    area.closePath();
    const fade = ctx.createLinearGradient(0, TOP, 0, plot.split);
    fade.addColorStop(0, plot.colours.line + "38");
    fade.addColorStop(1, plot.colours.line + "00");
    ctx.fillStyle = fade;
    ctx.fill(area);
    ctx.strokeStyle = plot.colours.line;
    ctx.lineWidth = 1.6;
    ctx.lineJoin = "round";
    ctx.stroke(path);
  }

  drawDrawdown(ctx, plot, points) {
    const area = new Path2D();
    area.moveTo(plot.x(plot.start), plot.d(0));
    for (const [t, , drawdown] of points) area.lineTo(plot.x(t), plot.d(drawdown));
    area.lineTo(plot.x(plot.end), plot.d(0));
    area.closePath();
    ctx.fillStyle = plot.colours.loss + "48";
    ctx.fill(area);
  }

  drawLast(ctx, plot, [t, equity]) {
    ctx.fillStyle = plot.colours.line;
    ctx.beginPath();
    ctx.arc(plot.x(t), plot.y(equity), 3.2, 0, 2 * Math.PI);
    ctx.fill();
  }

  drawHover(ctx, plot, points) {
    if (this.hover === null) { this.tip.hidden = true; return; }
    const at = plot.start + ((this.hover - LEFT) / (plot.right - LEFT)) * (plot.end - plot.start);
    let low = 0;
    let high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < at) low = middle + 1;
      else high = middle;
    }
    const [t, equity, drawdown] = points[low];
    ctx.strokeStyle = plot.colours.text;
    ctx.lineWidth = 1;
    this.pole(ctx, plot.x(t), TOP, plot.floor);
    ctx.fillStyle = plot.colours.ink;
    ctx.beginPath();
    ctx.arc(plot.x(t), plot.y(equity), 3.5, 0, 2 * Math.PI);
    ctx.fill();
    this.tip.textContent = `${dateTime(t)}\n${number(equity)}   drawdown ${percent(drawdown)}`;
    this.tip.hidden = false;
    const left = Math.min(Math.max(4, plot.x(t) + 12), plot.width - this.tip.offsetWidth - 4);
    this.tip.style.left = `${left}px`;
  }
}
