// Charts that answer to the reader, drawn from the data beside each figure (charts.py). Axes, zoom
// and the cursor are uPlot's; lines are drawn here, since every run has an x of its own.
"use strict";

(() => {
  const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const NEAR = 40; // px within which the pointer finds a point
  const HEIGHT = 380;
  const REST = 120; // ms after which what is pointed at is told

  const si = (value) => {
    const [by, prefix] = PREFIXES.find(([one]) => Math.abs(value) >= one) || [1, ""];
    return `${Number((value / by).toPrecision(4))}${prefix ? " " + prefix : ""}`;
  };
  const shown = (value) => (Math.abs(value) >= 1e4 ? si(value) : String(Number(value.toPrecision(5))));
  const element = (name, attributes, ...children) => {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  };

  // The x of a series on an axis: its own, or a straight line in it.
  const xs = (chart, series, key) => {
    const own = chart.shared[series.x];
    const line = series.axes && series.axes[key];
    return line ? own.map((step) => line[0] + line[1] * step) : own;
  };

  class Chart {
    constructor(host, chart) {
      this.host = host;
      this.chart = chart;
      this.panels = [...new Set(chart.series.map((one) => one.panel))];
      this.panel = this.panels[0];
      this.scale = chart.x[0];
      this.logX = this.scale.log;
      this.logY = chart.y.log;
      this.hidden = new Set();
      this.near = null;
      this.controls = host.appendChild(element("div", { class: "chart-controls" }));
      // An application, so that a screen reader leaves the arrow keys to it; what it tells is beside
      // it, for what is inside a graphic is not read.
      this.canvas = host.appendChild(element("div", { class: "chart-canvas", tabindex: "0", role: "application", "aria-roledescription": "chart" }));
      this.over = element("canvas", { class: "chart-over", "aria-hidden": "true" });
      this.tip = this.canvas.appendChild(element("div", { class: "chart-tip", "aria-hidden": "true", hidden: "" }));
      this.told = host.appendChild(element("div", { class: "unseen", role: "status" }));
      this.legend = host.appendChild(element("div", { class: "chart-legend", role: "group", "aria-label": "Lines" }));
      this.addControls();
      this.canvas.addEventListener("keydown", (event) => this.onKey(event));
      this.choose();
      new ResizeObserver(() => this.resize()).observe(this.canvas);
    }

    addControls() {
      if (this.panels.length > 1) this.select(this.chart.panel, this.panels, (one) => one, (one) => {
        this.panel = one;
        this.hidden.clear();
        this.choose();
      });
      if (this.chart.x.length > 1) this.select("x", this.chart.x, (one) => one.label, (one) => {
        this.scale = one;
        this.logX = one.log;
        this.boxX.checked = one.log;
        this.draw();
      });
      this.boxX = this.box("log x", this.logX, (on) => { this.logX = on; this.draw(); });
      this.boxY = this.box("log y", this.logY, (on) => { this.logY = on; this.draw(); });
      const reset = element("button", { type: "button" }, "whole range");
      reset.addEventListener("click", () => this.draw());
      this.controls.append(reset, element("span", { class: "note" }, ["drag to zoom in", this.chart.note].filter(Boolean).join("; ")));
    }

    select(label, values, text, chosen) {
      const select = element("select", {}, ...values.map((one, place) => element("option", { value: place }, text(one))));
      select.addEventListener("change", () => chosen(values[select.value]));
      this.controls.append(element("label", {}, `${label} `, select));
    }

    box(label, on, changed) {
      const box = element("input", { type: "checkbox" });
      box.checked = on;
      box.addEventListener("change", () => changed(box.checked));
      this.controls.append(element("label", {}, box, ` ${label}`));
      return box;
    }

    // Another panel: its lines and their legend.
    choose() {
      this.series = this.chart.series.filter((one) => one.panel === this.panel);
      const groups = new Map(this.series.map((one) => [one.group, one]));
      this.legend.replaceChildren(...[...groups].map(([group, one]) => this.entry(group, one, groups)));
      this.draw();
    }

    has(panel, group) {
      return this.chart.series.some((one) => one.panel === panel && one.group === group);
    }

    // Scratch stays beside it.
    only(panel, group) {
      this.panel = panel;
      this.controls.querySelector("select").value = this.panels.indexOf(panel);
      const groups = new Set(this.chart.series.filter((one) => one.panel === panel).map((one) => one.group));
      this.hidden = new Set([...groups].filter((one) => one !== group && one !== "scratch"));
      this.choose();
      this.pressed();
      this.host.scrollIntoView({ block: "center" });
    }

    entry(group, series, groups) {
      const swatch = element("span", { class: "swatch", style: `background:${this.ink(series)}` });
      const toggle = element("button", { type: "button", "aria-pressed": "true" }, swatch, group);
      toggle.addEventListener("click", () => {
        if (!this.hidden.delete(group)) this.hidden.add(group);
        this.pressed();
      });
      const only = element("button", { type: "button", class: "only", "aria-label": `Only ${group}` }, "only");
      only.addEventListener("click", () => {
        const alone = !this.hidden.has(group) && this.hidden.size === groups.size - 1;
        this.hidden = new Set(alone ? [] : [...groups.keys()].filter((one) => one !== group));
        this.pressed();
      });
      const entry = element("span", { class: "entry" }, toggle, ...(groups.size > 1 ? [only] : []));
      entry.group = group;
      entry.addEventListener("pointerenter", () => this.emphasise(group));
      entry.addEventListener("pointerleave", () => this.emphasise(null));
      return entry;
    }

    // A line's colour, broken as its dash is.
    ink({ colour, dash = [] }) {
      let from = 0;
      const parts = dash.map((length, place) => {
        from += length;
        return `${place % 2 ? "transparent" : colour} ${from - length}px ${from}px`;
      });
      return parts.length ? `repeating-linear-gradient(90deg, ${parts})` : colour;
    }

    pressed() {
      [...this.legend.children].forEach((entry) => {
        entry.firstChild.setAttribute("aria-pressed", String(!this.hidden.has(entry.group)));
      });
      this.draw();
    }

    emphasise(group) {
      this.group = group;
      this.paintOver();
    }

    visible() {
      return this.series.filter((one) => !this.hidden.has(one.group));
    }

    // A new plot of what is visible, over its whole range.
    draw() {
      if (this.plot) this.plot.destroy();
      this.near = null;
      this.tip.hidden = true;
      this.lines = this.visible().map((series) => ({ series, x: xs(this.chart, series, this.scale.key), y: series.y }));
      const allX = this.lines.flatMap((line) => line.x.filter((x) => x !== null && (!this.logX || x > 0)));
      const allY = this.lines.flatMap((line) => [...line.y, ...(line.series.low || []), ...(line.series.high || [])])
        .filter((y) => y !== null && (!this.logY || y > 0));
      const many = `${this.lines.length} ${this.lines.length === 1 ? "line" : "lines"}`;
      this.canvas.setAttribute("aria-label", `${this.chart.title}, ${this.panel}: ${many}. ${this.chart.says} ` +
        "Arrow keys go from point to point and from line to line, Home and End to a line’s ends; plus and minus zoom.");
      if (!allX.length || !allY.length) { this.plot = null; return; }
      const ends = (values, log) => {
        let low = Infinity, high = -Infinity;
        values.forEach((value) => { low = Math.min(low, value); high = Math.max(high, value); });
        if (low === high) return log ? [low / 1.2, high * 1.2] : [low - 0.5 * Math.abs(low || 1), high + 0.5 * Math.abs(high || 1)];
        const room = log ? Math.pow(high / low, 0.03) : 0.03 * (high - low);
        return log ? [low / room, high * room] : [low - room, high + room];
      };
      const [rangeX, rangeY] = [ends(allX, this.logX), ends(allY, this.logY)];
      const scale = (log, whole, falls) => ({
        time: false, distr: log ? 3 : 1, dir: falls ? -1 : 1,
        range: (plot, low, high) => (low === null || low === high ? whole : [low, high]),
      });
      // 1, 2 and 5 times powers of ten; only powers where those are many
      const splits = (plot, axis, low, high) => {
        const found = [];
        for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
          [1, 2, 5].forEach((by) => found.push(by * 10 ** power));
        }
        const inside = found.filter((one) => one >= low && one <= high);
        if (inside.length < 2) return [low, Math.sqrt(low * high), high];
        return inside.length > 9 ? inside.filter((one) => Number.isInteger(Math.round(Math.log10(one) * 1e6) / 1e6)) : inside;
      };
      const logarithmic = (log) => (log ? { splits, filter: (plot, values) => values } : {});
      const ticks = (plot, values) => values.map((value) => (value === null ? "" : si(value)));
      const axis = { stroke: "#1b1b1b", grid: { stroke: "#dddddd", width: 1 }, font: "12px system-ui", labelFont: "13px system-ui", values: ticks };
      this.plot = new uPlot({
        width: Math.max(200, this.canvas.clientWidth), height: HEIGHT,
        legend: { show: false },
        scales: { x: scale(this.logX, rangeX, this.scale.falls), y: scale(this.logY, rangeY, false) },
        axes: [
          { ...axis, ...logarithmic(this.logX), label: this.scale.label, space: 60 },
          { ...axis, ...logarithmic(this.logY), label: this.chart.y.label, size: 60 },
        ],
        cursor: { points: { show: false }, drag: { x: true, y: true, uni: 20 } },
        series: [{}, { stroke: "transparent", points: { show: false } }],
        hooks: { draw: [(plot) => this.paint(plot)], setCursor: [(plot) => this.onMove(plot)] },
      }, [rangeX, rangeY], this.canvas);
      this.canvas.append(this.over);
    }

    resize() {
      const width = this.canvas.clientWidth;
      if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
    }

    // All lines: what is pointed at is drawn over them, on a canvas of its own.
    paint(plot) {
      const { ctx } = plot;
      ctx.save();
      this.clip(ctx, plot);
      this.lines.forEach((line) => this.paintLine(ctx, plot, line));
      ctx.restore();
      this.over.width = ctx.canvas.width;
      this.over.height = ctx.canvas.height;
      this.paintOver(plot);
      this.placeTip();
    }

    clip(ctx, plot) {
      const { left, top, width, height } = plot.bbox;
      ctx.beginPath();
      ctx.rect(left, top, width, height);
      ctx.clip();
      ctx.lineJoin = "round";
    }

    paintLine(ctx, plot, line) {
      const { low, high } = line.series;
      const at = (values, place) => (values[place] === null || line.x[place] === null
        || (this.logX && line.x[place] <= 0) || (this.logY && values[place] <= 0) ? null
        : [plot.valToPos(line.x[place], "x", true), plot.valToPos(values[place], "y", true)]);
      line.points = line.x.map((_, place) => at(line.y, place));
      if (low && high) {
        const ends = [low, high].map((values) => line.x.map((_, place) => at(values, place)));
        this.paintBand(ctx, line.series.colour, ...ends);
      }
      this.trace(ctx, line, 1.3);
    }

    // Between the ends; of a point alone, a bar.
    paintBand(ctx, colour, low, high) {
      ctx.save();
      ctx.beginPath();
      ctx.fillStyle = ctx.strokeStyle = colour;
      [...low, ...high.reverse()].forEach((p) => { if (p) ctx.lineTo(...p); });
      if (low.length === 1) {
        ctx.lineWidth = 1.2 * devicePixelRatio;
        ctx.stroke();
      } else {
        ctx.globalAlpha = 0.15;
        ctx.fill();
      }
      ctx.restore();
    }

    trace(ctx, line, width) {
      const ratio = devicePixelRatio;
      ctx.strokeStyle = ctx.fillStyle = line.series.colour;
      ctx.lineWidth = width * ratio;
      ctx.setLineDash((line.series.dash || []).map((one) => one * ratio));
      ctx.beginPath();
      let down = false;
      line.points.forEach((p) => {
        if (p && down) ctx.lineTo(...p);
        else if (p) ctx.moveTo(...p);
        down = Boolean(p);
      });
      ctx.stroke();
      ctx.setLineDash([]);
      if (line.series.marks) line.points.forEach((p) => { if (p) this.dot(ctx, p, 3).fill(); });
    }

    dot(ctx, p, radius) {
      ctx.beginPath();
      ctx.arc(...p, radius * devicePixelRatio, 0, 2 * Math.PI);
      return ctx;
    }

    // What is pointed at: a point with its line, and all lines of an entry of the legend.
    paintOver(plot = this.plot) {
      if (!plot) return;
      const ctx = this.over.getContext("2d");
      ctx.clearRect(0, 0, this.over.width, this.over.height);
      ctx.save();
      this.clip(ctx, plot);
      const told = this.near ? [this.near.line] : [];
      const named = this.lines.filter((line) => line.series.group === this.group);
      [...named, ...told].forEach((line) => this.trace(ctx, line, 2.8));
      const p = this.near && this.near.line.points[this.near.place];
      if (p) this.dot(ctx, p, 6).stroke();
      ctx.restore();
    }

    onMove(plot) {
      const { left, top } = plot.cursor;
      if (left === undefined || left < 0) { this.point(null); return; }
      const ratio = devicePixelRatio;
      const [x, y] = [left * ratio + plot.bbox.left, top * ratio + plot.bbox.top];
      let best = null, least = (NEAR * ratio) ** 2;
      this.lines.forEach((line) => (line.points || []).forEach((p, place) => {
        if (!p) return;
        const away = (p[0] - x) ** 2 + (p[1] - y) ** 2;
        if (away < least) { least = away; best = { line, place }; }
      }));
      this.point(best);
    }

    // The point that is told of, by the pointer or the keys.
    point(near) {
      const same = (!near && !this.near) || (near && this.near && near.line === this.near.line && near.place === this.near.place);
      if (same || !this.plot) return;
      this.near = near;
      this.paintOver();
      if (!near) {
        this.tip.hidden = true;
        this.tell("");
        return;
      }
      const { series, x, y } = near.line;
      const value = y[near.place];
      const lines = [series.name, `${this.chart.y.label}: ${shown(value)}`];
      if (series.lowest !== undefined) {
        lines.push(`${this.chart.compared}: ${shown(value - series.lowest)} (${(100 * (value / series.lowest - 1)).toFixed(2)} %)`);
      }
      if (series.low && series.high && series.low[near.place] !== series.high[near.place]) {
        lines.push(`${shown(series.low[near.place])} to ${shown(series.high[near.place])}`);
      }
      if (series.axes) {
        this.chart.x.forEach((scale) => lines.push(`${scale.label}: ${shown(xs(this.chart, series, scale.key)[near.place])}`));
      } else {
        lines.push(`${this.scale.label}: ${shown(x[near.place])}`);
      }
      this.tip.replaceChildren(...lines.map((text) => element("div", {}, text)));
      this.tell(lines.join("; "));
      this.placeTip();
    }

    // Beside its point; nowhere while a zoom leaves that out.
    placeTip() {
      const p = this.near && this.near.line.points[this.near.place];
      const { left: from, top: above, width, height } = this.plot.bbox;
      const inside = p && p[0] >= from && p[0] <= from + width && p[1] >= above && p[1] <= above + height;
      this.tip.hidden = !inside;
      if (!inside) return;
      const ratio = devicePixelRatio;
      const [left, top] = [p[0] / ratio, p[1] / ratio];
      const right = left > this.canvas.clientWidth / 2;
      this.tip.style.left = right ? "" : `${left + 14}px`;
      this.tip.style.right = right ? `${this.canvas.clientWidth - left + 14}px` : "";
      this.tip.style.top = `${Math.max(0, top - 20)}px`;
    }

    // To a screen reader: what the pointer or the keys have come to rest on.
    tell(text) {
      clearTimeout(this.telling);
      this.telling = setTimeout(() => { this.told.textContent = text; }, REST);
    }

    // A third closer, or as much further, around the point that is told of or the middle.
    zoom(closer) {
      [["x", this.logX], ["y", this.logY]].forEach(([key, log]) => {
        const { min, max } = this.plot.scales[key];
        const [to, from] = log ? [Math.log, Math.exp] : [(one) => one, (one) => one];
        const told = this.near && this.near.line[key][this.near.place];
        const at = told === null || told < min || told > max ? (to(min) + to(max)) / 2 : to(told);
        const by = closer ? 2 / 3 : 3 / 2;
        this.plot.setScale(key, { min: from(at + (to(min) - at) * by), max: from(at + (to(max) - at) * by) });
      });
    }

    onKey(event) {
      if ("+=-".includes(event.key) && this.plot && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        this.zoom(event.key !== "-");
        return;
      }
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -Infinity], End: [0, Infinity] }[event.key];
      if (event.key === "Escape") this.point(null);
      if (!step || !this.plot || !this.lines.length) return;
      event.preventDefault();
      let line = 0, place = -1;
      if (this.near) {
        line = this.lines.indexOf(this.near.line);
        place = this.near.place;
      }
      const next = this.lines[(line + step[0] + this.lines.length) % this.lines.length];
      place = Math.min(Math.max(place + step[1], 0), next.x.length - 1);
      // to the nearest point that the axes show, and back where there is none that way
      const ahead = Number.isFinite(step[1]) ? step[1] || 1 : -Math.sign(step[1]);
      for (const by of [ahead, -ahead]) {
        for (let at = place; at >= 0 && at < next.points.length; at += by) {
          if (next.points[at]) { this.point({ line: next, place: at }); return; }
        }
      }
    }
  }

  document.querySelectorAll(".chart").forEach((host) => {
    const data = host.querySelector(".chart-data");
    host.hidden = false;
    host.made = new Chart(host, JSON.parse(data.textContent));
    const picture = host.parentElement.querySelector("details.picture");
    if (!picture) return;
    picture.open = false;
    // On paper the picture stands for the chart.
    let was = false;
    window.addEventListener("beforeprint", () => { was = picture.open; picture.open = true; });
    window.addEventListener("afterprint", () => { picture.open = was; });
  });

  // A method in a table leads to its curves: those alone, in the panel of the row's target.
  const curves = [...document.querySelectorAll(".chart")].find((host) => host.made.chart.name === "curves");
  if (curves) document.querySelectorAll(".scroll > table").forEach((table) => {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const [method, target] = [names.indexOf("method"), names.indexOf("target")];
    if (method < 0 || target < 0) return;
    [...table.tBodies[0].rows].forEach((row) => {
      const [group, panel] = [row.cells[method].textContent, `target ${row.cells[target].textContent}`];
      if (!curves.made.has(panel, group)) return;
      const link = element("button", { type: "button", class: "to-curve", title: "show its curves" }, group);
      link.addEventListener("click", () => curves.made.only(panel, group));
      row.cells[method].replaceChildren(link);
    });
  });
})();
