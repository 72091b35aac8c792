'use strict';
// A plot of the last hour: a line with gaps where nothing is known, the value at the pointer or at the arrow keys' place, and a summary
// for who does not see it.
const HOUR = 3600;
// Points of the hour are ten seconds apart; what is further apart is a gap.
const GAP = 25;

class Plot {
  constructor(figure, format, says) {
    this.read = figure.querySelector('.read');
    this.canvas = figure.querySelector('.canvas');
    this.name = figure.querySelector('.name').textContent;
    [this.area, this.line, this.cursor] = ['.area', '.line', '.cursor'].map((one) => figure.querySelector(one));
    this.axis = figure.querySelectorAll('.axis span');
    Object.assign(this, { format, says, points: [], end: 0, at: null });
    const minutes = new Intl.NumberFormat(document.documentElement.lang, { style: 'unit', unit: 'minute', unitDisplay: 'short' });
    [minutes.format(-60), minutes.format(-30), says.now].forEach((text, place) => { this.axis[place].textContent = text; });
    this.canvas.addEventListener('pointermove', (event) => {
      const { left, width } = this.canvas.getBoundingClientRect();
      this.look(this.end - HOUR + ((event.clientX - left) / width) * HOUR);
    });
    for (const leaves of ['pointerleave', 'blur']) this.canvas.addEventListener(leaves, () => this.look(null));
    this.canvas.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || this.points.length === 0) return;
      event.preventDefault();
      const place = this.at === null ? this.points.length - 1 : this.nearest(this.at) + step;
      this.look(this.points[Math.min(Math.max(place, 0), this.points.length - 1)][0]);
    });
  }

  // points: pairs of time and value, in the order of time; a value of null is not known. top: what the plot's height stands for.
  draw(points, end, top) {
    const x = (time) => (600 * (time - end + HOUR) / HOUR).toFixed(1);
    const y = (value) => (100 - 96 * Math.min(value / top, 1)).toFixed(1);
    this.points = points.filter(([time, value]) => value !== null && time > end - HOUR);
    this.end = end;
    const pieces = [];
    let last = -Infinity;
    for (const [time, value] of points) {
      if (value === null || time <= end - HOUR) continue;
      if (time - last > GAP) pieces.push([]);
      pieces.at(-1).push([x(time), y(value)]);
      last = time;
    }
    // A piece of one point would be invisible.
    this.line.setAttribute('d', pieces.map((piece) => `M${piece.map((pair) => pair.join(' ')).join('L')}${piece.length > 1 ? '' : 'h.1'}`).join(''));
    this.area.setAttribute('d', pieces.map((piece) => `M${piece[0][0]} 100L${piece.map((pair) => pair.join(' ')).join('L')}L${piece.at(-1)[0]} 100Z`).join(''));
    this.canvas.dataset.top = this.format(top);
    this.canvas.dataset.bottom = this.format(0);
    const values = this.points.map(([, value]) => value);
    const summary = values.length === 0 ? `${this.name}: ${this.says.no_data}` : this.says.plot.replace('{name}', this.name)
      .replace('{now}', this.format(values.at(-1))).replace('{low}', this.format(values.reduce((a, b) => Math.min(a, b))))
      .replace('{high}', this.format(values.reduce((a, b) => Math.max(a, b))));
    this.canvas.setAttribute('aria-label', summary);
    this.look(this.at);
  }

  // What stands above the plot while nobody looks at a place in it.
  now(text, value) {
    Object.assign(this, { text, value });
    if (this.at === null) { this.read.textContent = text; this.read.dataset.value = value ?? ''; }
  }

  nearest(time) {
    let best = 0;
    this.points.forEach(([at], place) => { if (Math.abs(at - time) < Math.abs(this.points[best][0] - time)) best = place; });
    return best;
  }

  look(time) {
    this.at = this.points.length === 0 ? null : time;
    if (this.at === null) { this.cursor.removeAttribute('d'); this.now(this.text, this.value); return; }
    const [at, value] = this.points[this.nearest(time)];
    const clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: 'medium' });
    this.cursor.setAttribute('d', `M${600 * (at - this.end + HOUR) / HOUR} 0V100`);
    this.read.textContent = `${clock.format(at * 1000)} · ${this.format(value)}`;
    this.read.dataset.value = value;
  }
}
