// What was recorded, and what follows from it: arrows between peers, and jobs of workers.

// The data stand in the page as text (base64) of packed bytes (deflate); each browser can unpack both.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

// A record says {"Name": {fields}}, or "Name" where there are none: gives [name, fields].
function named(value) {
  return typeof value === "string" ? [value, {}] : Object.entries(value)[0];
}

// The threads that put each sort of event into the node's inbox, where the record does not tell it by itself (in
// `timing`). A message's depends on what carried it.
const GIVERS = {
  Start: "main", Command: "console", Tick: "sweeper", JobDone: "transfer", Validated: "transfer", Undeliverable: "link",
  Dropped: "udp-recv", NoWay: "node",
};
function giver(name, fields, timing) {
  if (timing?.queued) return timing.queued.by;
  if (name === "Message") return fields.via === "Udp" ? "udp-recv" : "tcp-serve";
  return GIVERS[name] ?? "tcp-serve";
}

// Fields of a moment that this page draws. Whatever else a record says is shown beside them by its name.
const KNOWN = ["peer", "at", "event", "actions", "timing"];
function extras(record) {
  return Object.entries(record).filter(([field]) => !KNOWN.includes(field));
}

// Adds to the data what the diagram draws:
//   moment.i, moment.name, moment.fields, moment.giver, moment.effects   of each moment
//   data.arrows   {from, to, kind, text}   the numbers of two moments, and what carried the message
//   data.jobs     {from, to, peer, slot, thread, source}   a job from its order to its outcome; slot tells it from
//                 others at that time, thread is the worker's, if that was recorded, and source the peer whose bytes it
//                 fetched
//   data.lost     {at, peer}               a message that a recorded peer did not get, by the moment of its sending
function derive(data) {
  const {moments, peers} = data;
  const running = new Map();
  const busy = peers.map(() => []);
  data.arrows = [];
  data.jobs = [];
  data.lost = [];
  for (const [i, moment] of moments.entries()) {
    const [name, fields] = named(moment.record.event);
    Object.assign(moment, {i, name, fields, giver: giver(name, fields, moment.record.timing), effects: []});
    const cause = typeof moment.cause === "number" ? moments[moment.cause] : null;
    cause?.effects.push(i);
    if (name === "Message" && cause) {
      data.arrows.push({from: cause.i, to: i, kind: fields.via === "Udp" ? "udp" : "tcp", text: moment.sort});
    }
    if (name === "Start") forget(running, busy, moment.peer);
    if (name === "JobDone") ended(data, running, busy, moment);
    for (const action of moment.record.actions) {
      const [verb, what] = named(action);
      if (verb === "Start") started(peers, running, busy, moment, what);
    }
    for (const peer of moment.lost ?? []) data.lost.push({at: i, peer});
  }
}

function started(peers, running, busy, moment, {job, work}) {
  const slots = busy[moment.peer];
  const free = slots.indexOf(false);
  const slot = free < 0 ? slots.length : free;
  slots[slot] = true;
  running.set(`${moment.peer}.${job}`, {from: moment.i, peer: moment.peer, slot, source: source(peers, moment, work)});
}

// The recorded peer whose bytes a job fetches.
function source(peers, moment, work) {
  const [name, fields] = named(work);
  const {from} = name === "Named" ? named(fields)[1] : fields;
  const run = peers[moment.peer].run;
  const peer = peers.findIndex((peer) => peer.run === run && peer.addr === (from?.Peer ?? from));
  return peer < 0 ? null : peer;
}

function ended(data, running, busy, moment) {
  const key = `${moment.peer}.${moment.fields.job}`;
  const job = running.get(key);
  if (!job) return;
  running.delete(key);
  busy[moment.peer][job.slot] = false;
  data.jobs.push({...job, to: moment.i, thread: moment.record.timing?.work?.worker ?? `job ${job.slot + 1}`});
}

// A peer that is started anew has no jobs of its former life.
function forget(running, busy, peer) {
  for (const [key, job] of running) if (job.peer === peer) running.delete(key);
  busy[peer] = [];
}

// The moment and what led to it, the first cause first.
function chain(moments, i) {
  const found = [i];
  while (typeof moments[found[0]].cause === "number") found.unshift(moments[found[0]].cause);
  return found;
}

// The chains of causes in which these sorts follow one another; "…" stands for anything in between. A chain begins at
// the latest where the clock began something.
function search(moments, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean).map((word) => (word === "..." ? "…" : word));
  const before = (moment) => (moment.name === "Tick" ? undefined : moments[moment.cause]);
  const match = (moment, w) => {
    if (moment?.sort !== words[w]) return null;
    if (w === 0) return [moment.i];
    const gap = words[w - 1] === "…";
    for (let cause = before(moment); cause; cause = before(cause)) {
      const hit = match(cause, gap ? w - 2 : w - 1);
      if (hit) return [...hit, moment.i];
      if (!gap) return null;
    }
    return null;
  };
  return words.length ? moments.map((moment) => match(moment, words.length - 1)).filter(Boolean) : [];
}

const escape = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const clock = (micros) => `${(micros / 1000).toFixed(3)} ms`;
