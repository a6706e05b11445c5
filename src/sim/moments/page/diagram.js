// The space-time diagram: lanes side by side, time downwards. Only what can be seen is drawn, as the text of an SVG.

const TIMES = 88;     // pixels on the left, for the time of each row
const WORDS = 260;    // pixels on the right, for the words of the last lane
const THREAD = 74;    // the width of a thread's lane

// The lanes from left to right: {peer, thread, x}. A closed peer has the lane of its node alone.
function layLanes(data, open, width) {
  const closed = data.peers.length - open.size;
  const threads = data.peers.map((_, p) => (open.has(p) ? threadsOf(data, p) : ["node"]));
  const taken = threads.flat().length - closed;
  const each = Math.max(56, Math.min(260, (width - TIMES - WORDS - taken * THREAD) / Math.max(1, closed)));
  const lanes = [];
  let x = TIMES;
  threads.forEach((names, peer) => names.forEach((thread) => {
    const wide = names.length > 1 ? THREAD : each;
    lanes.push({peer, thread, x: Math.round(x + wide / 2)});
    x += wide;
  }));
  return {lanes, width: Math.max(width, x + WORDS)};
}

// The threads that a peer's moments tell of: those that gave events, the node, and its workers.
function threadsOf(data, p) {
  const gave = new Set(data.moments.filter((moment) => moment.peer === p).map((moment) => moment.giver));
  const workers = new Set(data.jobs.filter((job) => job.peer === p).map((job) => job.thread));
  const others = [...gave].filter((thread) => !workers.has(thread) && !["node", "transfer"].includes(thread));
  const byNumber = (a, b) => a.localeCompare(b, "en", {numeric: true});
  return [...others.sort(byNumber), "node", ...[...workers].sort(byNumber)];
}

class Diagram {
  // `view` is what the user chose; `top` and `height` are the part that can be seen, in pixels.
  constructor(data, view, width) {
    Object.assign(this, {data, view}, layLanes(data, view.open, width));
    this.places = new Map(this.lanes.map(({peer, thread, x}) => [`${peer} ${thread}`, x]));
  }

  x(peer, thread = "node") { return this.places.get(`${peer} ${thread}`) ?? this.places.get(`${peer} node`); }

  y(moment) {
    return 14 + (this.view.steps ? moment.row * this.view.pitch : (moment.at / 1000) * this.view.perMs);
  }

  // The height of a time that a moment's record tells, in microseconds by its peer's clock.
  yAt(moment, micros) {
    const {moments, peers} = this.data;
    const time = moment.at + micros - moment.record.at;
    if (!this.view.steps) return this.y({at: time});
    // Rows of two runs have no common clock.
    if (peers.at(-1).run > 0) return this.y(moment);
    let {i} = moment;
    while (i > 0 && moments[i].at > time) i--;
    while (i + 1 < moments.length && moments[i + 1].at <= time) i++;
    const next = moments[i + 1];
    const share = next ? Math.max(0, (time - moments[i].at) / (next.at - moments[i].at)) : 0;
    return this.y(moments[i]) + share * this.view.pitch;
  }

  // When a message came, or another event was put into the node's inbox, as far as that was recorded.
  yGiven(moment) {
    const queued = moment.record.timing?.queued;
    return queued && this.view.open.has(moment.peer) ? this.yAt(moment, queued.put) : this.y(moment);
  }

  get height() { return this.y(this.data.moments.at(-1)) + 60; }

  draw(top, height) {
    this.seen = [top - 20, top + height + 20];
    this.drawn = new Set();
    const things = this.drawJobs() + this.drawArrows() + this.drawLost() + this.drawMoments();
    const tip = (id, on) => `<marker id="${id}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" markerHeight="9"
      markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" class="tip ${on}"/></marker>`;
    return `<svg width="${this.width}" height="${height}" viewBox="0 ${top} ${this.width} ${height}">
      <defs>${tip("tip", "")}${tip("tip-on", "on")}</defs>${this.drawLanes(top, height)}${things}</svg>`;
  }

  // Whether something between these heights can be seen, and nothing is drawn at that place yet: where thousands of
  // moments fall on one pixel, one of them is enough.
  visible(from, to, place) {
    if (to < this.seen[0] || from > this.seen[1]) return false;
    const key = `${place} ${Math.round(from)} ${Math.round(to)}`;
    return !this.drawn.has(key) && this.drawn.add(key);
  }

  drawLanes(top, height) {
    const y = this.y(this.data.moments[this.view.now]);
    const lanes = this.lanes.map(({x}) => `<line class="lane" x1="${x}" x2="${x}" y1="${top}" y2="${top + height}"/>`);
    return `${lanes.join("")}<line class="row" x1="0" x2="${this.width}" y1="${y}" y2="${y}"/>`;
  }

  drawJobs() {
    const {moments} = this.data;
    return this.data.jobs.map((job) => {
      const [from, to] = [this.y(moments[job.from]), this.y(moments[job.to])];
      const open = this.view.open.has(job.peer);
      const x = open ? this.x(job.peer, job.thread) - 4 : this.x(job.peer) + 9 + 5 * Math.min(job.slot, 8);
      if (!this.visible(from, to, `job ${x}`)) return "";
      const bytes = job.source === null ? "" : this.line("stream", this.x(job.source), from, this.x(job.peer), to, "");
      const bar = `<rect class="job" data-go="${job.to}" x="${x}" y="${from}" width="${open ? 8 : 4}"
        height="${Math.max(1, to - from)}"/>`;
      return bytes + bar + (open ? this.drawWork(moments[job.to], x) : "");
    }).join("");
  }

  // The part of a job in which a worker was at it: until then it waited for one.
  drawWork(moment, x) {
    const work = moment.record.timing?.work;
    if (!work) return "";
    const [from, to] = [this.yAt(moment, work.from), this.yAt(moment, work.until)];
    return `<rect class="work" x="${x}" y="${from}" width="8" height="${Math.max(1, to - from)}"/>`;
  }

  drawArrows() {
    const {moments} = this.data;
    const waits = [...this.view.way].map((i) => this.drawWait(moments[i])).join("");
    return waits + this.data.arrows.map(({from, to, kind}) => {
      const [sent, came] = [moments[from], moments[to]];
      const [x1, x2, y1] = [this.x(sent.peer), this.x(came.peer, came.giver), this.y(sent)];
      const y2 = Math.max(y1, this.yGiven(came));
      const on = this.view.way.has(to) && this.view.way.has(from);
      if (!on && !this.visible(y1, y2, `arrow ${x1} ${x2}`)) return "";
      return this.line(`${kind}${on ? " on" : ""}`, x1, y1, x2, y2, on ? "-on" : "");
    }).join("");
  }

  // On the way to the moment that is looked at, a peer waits from the cause to what came of it.
  drawWait(moment) {
    const cause = this.data.moments[moment.cause];
    if (!cause || cause.peer !== moment.peer) return "";
    const x = this.x(moment.peer);
    return `<line class="wait" x1="${x}" x2="${x}" y1="${this.y(cause)}" y2="${this.y(moment)}"/>`;
  }

  // An arrow that ends at the rim of the mark there.
  line(classes, x1, y1, x2, y2, tip) {
    const long = Math.hypot(x2 - x1, y2 - y1) || 1;
    const [x, y] = [x2 - (7 * (x2 - x1)) / long, y2 - (7 * (y2 - y1)) / long];
    return `<line class="arrow ${classes}" x1="${x1}" y1="${y1}" x2="${x.toFixed(1)}" y2="${y.toFixed(1)}"
      marker-end="url(#tip${tip})"/>`;
  }

  drawLost() {
    return this.data.lost.map(({at, peer}) => {
      const sent = this.data.moments[at];
      const [x1, x2, y] = [this.x(sent.peer), this.x(peer), this.y(sent)];
      if (!this.visible(y, y + 12, `lost ${x1} ${x2}`)) return "";
      const x = x1 + Math.sign(x2 - x1) * 30;
      return `<line class="arrow lost" x1="${x1}" y1="${y}" x2="${x}" y2="${y + 10}"/>
        <text class="faint" x="${x}" y="${y + 14}" text-anchor="middle">×</text>`;
    }).join("");
  }

  drawMoments() {
    let [words, before] = [-Infinity, null];
    const parts = this.data.moments.map((moment) => {
      const [x, y] = [this.x(moment.peer), this.y(moment)];
      const chosen = this.view.now === moment.i || this.view.way.has(moment.i);
      if (y < this.seen[0] || y > this.seen[1] || !(this.visible(y, y, `dot ${x}`) || chosen)) return "";
      let text = "";
      if (y - words >= 13 || this.view.now === moment.i) {
        text = this.drawTime(moment, before, y) + (this.view.words ? this.drawWords(moment, x, y) : "");
        [words, before] = [y, moment];
      }
      return this.drawGiver(moment, x, y) + this.drawMark(moment, x, y) + text;
    });
    return parts.join("");
  }

  drawTime(moment, before, y) {
    const gap = before && moment.at - before.at >= 5000 ? ` +${Math.round((moment.at - before.at) / 1000)}` : "";
    return `<text class="faint" x="4" y="${y + 4}">${(moment.at / 1000).toFixed(2)}${gap}</text>`;
  }

  drawWords(moment, x, y) {
    const room = Math.floor((this.width - x - 60) / 6.4);
    const text = moment.say.length > room ? `${moment.say.slice(0, room - 1)}…` : moment.say;
    return `<text class="say" data-go="${moment.i}" x="${x + 56}" y="${y + 4}">${escape(text)}</text>`;
  }

  // In an open peer, the thread that put the event into the node's inbox.
  drawGiver(moment, x, y) {
    if (!this.view.open.has(moment.peer)) return "";
    const job = moment.name === "JobDone" && this.data.jobs.find(({to}) => to === moment.i);
    const from = this.x(moment.peer, job ? job.thread : moment.giver);
    const given = from === x ? "" : this.line("", from, Math.min(y, this.yGiven(moment)), x, y, "");
    return given + this.drawTurn(moment, x, y);
  }

  // How long the node was at it.
  drawTurn(moment, x, y) {
    const took = moment.record.timing?.took;
    if (took === undefined) return "";
    const until = this.yAt(moment, moment.record.at + took);
    return `<rect class="work" x="${x - 3}" y="${y}" width="6" height="${Math.max(1, until - y)}"/>`;
  }

  // Marks tell the sorts apart without colours: a circle is a message, a square a worker's, a triangle the clock's, a
  // diamond a person's.
  drawMark(moment, x, y) {
    const {now, way, found} = this.view;
    const on = moment.i === now ? "now" : way.has(moment.i) ? "on" : found.has(moment.i) ? "found" : "";
    const attributes = `class="dot ${on}${moment.differs ? " differs" : ""}" data-go="${moment.i}"`;
    const title = `<title>${escape(moment.say)}</title>`;
    switch (moment.name) {
      case "JobDone": return `<rect ${attributes} x="${x - 5}" y="${y - 5}" width="10" height="10">${title}</rect>`;
      case "Tick": return `<path ${attributes} d="M${x} ${y - 6}l6 11h-12z">${title}</path>`;
      case "Command": return `<path ${attributes} d="M${x} ${y - 7}l7 7l-7 7l-7 -7z">${title}</path>`;
      default: return `<circle ${attributes} cx="${x}" cy="${y}" r="5">${title}</circle>`;
    }
  }
}

const LEGEND = `● a message came · ■ a worker is done · ▲ the clock · ◆ a person · solid arrow: datagram · dashed: over a
  connection · dotted: a worker fetches bytes · × did not come · bars: jobs of workers`;
