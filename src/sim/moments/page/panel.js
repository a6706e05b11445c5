// Beside the diagram: the moment in words and as it was recorded, and what all peers know then.

function go(i, text) {
  return `<button class="go" data-go="${i}">${escape(text)}</button>`;
}

function drawMoment(data, now) {
  const {moments, peers} = data;
  const line = (i) => `${clock(moments[i].at)} · peer ${peers[moments[i].peer].name}: ${short(moments[i].say)}`;
  const words = now.cause ?? "not found in the records";
  const cause = typeof words === "number" ? go(words, line(words)) : escape(words);
  const list = now.effects.slice(0, 20).map((i) => `<li>${go(i, line(i))}</li>`).join("");
  const more = now.effects.length > 20 ? `<li>and ${now.effects.length - 20} more</li>` : "";
  const extra = ([field, value]) => `<li>${escape(field)}: ${escape(JSON.stringify(value))}</li>`;
  const said = extras(now.record).map(extra).join("");
  return `<h2>${escape(line(now.i))}</h2>
    <p>${escape(now.say)}</p>
    ${now.differs ? "<p>Only this run has such a moment here.</p>" : ""}
    ${timing(now.record)}
    ${said && `<ul>${said}</ul>`}
    <p>Cause: ${cause}</p>
    ${list && `<p>What came of it:</p><ul>${list}${more}</ul>`}
    <p>${waits(data, now)}</p>
    <details open>
      <summary>As it was recorded</summary>
      <pre>${escape(JSON.stringify(now.record, null, 1))}</pre>
    </details>`;
}

// Through which queue and which threads a moment came, as far as that was recorded.
function timing({at, timing}) {
  if (!timing) return "";
  const {queued, thread, took, work, locks} = timing;
  const parts = [];
  if (work) parts.push(`thread ${work.worker} worked at it for ${clock(work.until - work.from)}`);
  if (queued) {
    parts.push(`${queued.by} put it into the queue of ${queued.queue}, where it waited ${clock(at - queued.put)}`);
  }
  if (thread) parts.push(`${thread} took it, for a turn of ${clock(took)}`);
  for (const lock of locks ?? []) {
    const holder = lock.held_by.join(", ") || "nobody known";
    parts.push(`${lock.thread} waited ${clock(lock.took)} for the lock ${lock.lock}, held by ${holder}`);
  }
  return `<p>${escape(parts.join("; "))}.</p>`;
}

const short = (text) => (text.length > 90 ? `${text.slice(0, 89)}…` : text);

// Where the time went on the way to a moment.
function waits(data, now) {
  const kinds = {Message: "messages", JobDone: "work", Tick: "the clock"};
  const sums = new Map();
  const way = chain(data.moments, now.i);
  for (let n = 1; n < way.length; n++) {
    const [before, after] = [data.moments[way[n - 1]], data.moments[way[n]]];
    const kind = kinds[after.name] ?? "others";
    sums.set(kind, (sums.get(kind) ?? 0) + after.at - before.at);
  }
  const parts = [...sums].map(([kind, micros]) => `${clock(micros)} for ${kind}`);
  return parts.length ? `On the way there (${way.length} moments): ${parts.join(", ")}.` : "";
}

function drawState(data, states, now) {
  const run = data.peers[now.peer].run;
  const shown = data.peers.map((_, p) => p).filter((p) => data.peers[p].run === run);
  const head = shown.map((p) => `<th scope="col">${escape(data.peers[p].name)}</th>`).join("");
  const rows = shown.map((a) => {
    const cells = shown.map((b) => `<td>${cell(data, states, a, b)}</td>`).join("");
    const {keys} = states[a];
    const name = `${escape(data.peers[a].name)} <span class="faint">${states[a].stands}</span>`;
    return `<tr${a === now.peer ? ' class="here"' : ""}><th scope="row">${name}</th>${cells}<td>${keys.size}</td></tr>`;
  });
  const keys = [...states[now.peer].keys].map((key) => (key.length === 64 ? key.slice(0, 6) : key));
  return `<h2>Who believes whom alive, and keeps how much</h2>
    <table><thead><tr><th></th>${head}<th scope="col">keys</th></tr></thead><tbody>${rows.join("")}</tbody></table>
    <p class="faint">● believes so · ! believes so, and is wrong</p>
    <p>Peer ${escape(data.peers[now.peer].name)} keeps ${keys.length ? escape(keys.join(" ")) : "nothing"}.</p>`;
}

function cell(data, states, a, b) {
  if (a === b) return "–";
  if (!believes(data, states, a, b)) return "";
  return states[b].stands === "runs" ? "●" : "!";
}
