// Where peers and keys are: the ring as a circle, Kademlia's ids as a binary trie. Positions follow from the ids alone.

function drawMap(data, states, now) {
  const focus = now.peer;
  const run = data.peers[focus].run;
  const peers = data.peers.map((peer, p) => ({...peer, p})).filter((peer) => peer.run === run);
  const key = subject(data, now);
  const view = {
    data, states, focus, peers, key, note: "",
    knows: (p) => p !== focus && believes(data, states, focus, p),
    holds: (p) => key !== null && states[p].keys.has(key),
    label: (p) => `${data.peers[p].name}${states[p].stands === "runs" ? "" : " ✕"}`,
  };
  const [title, picture] = data.overlay === "ring" ? ["The ring", ring(view)] : ["The trie of ids", trie(view)];
  const about = key === null ? "" : `; the key ${key.slice(0, 6)} is at ◆, and who keeps it has a double border`;
  return `<h2>${title}, as peer ${escape(data.peers[focus].name)} knows it</h2>${picture}
    <p class="faint">Filled: believed alive${about}. ✕: has not started, ended, or fell silent.${view.note}</p>`;
}

// How far around the circle an id is, 0 to 1.
function share(id, bits) {
  return Number(((BigInt(`0x${id}`) << 52n) >> BigInt(bits)) & ((1n << 52n) - 1n)) / 2 ** 52;
}

function peerMark(view, p, x, y) {
  const fill = p === view.focus ? "now" : view.knows(p) ? "found" : "";
  const border = view.holds(p) ? `<circle cx="${x}" cy="${y}" r="11" class="edge"/>` : "";
  return `${border}<circle class="dot ${fill}" cx="${x}" cy="${y}" r="7" data-peer="${p}"/>`;
}

// Where on the circle an id stands, 0 to 1: by its number, or where peers would be too near one another to be read,
// evenly in the order of their ids, with a key between its neighbours.
function ringPlaces(view) {
  const {bits} = view.data;
  const shares = view.peers.map(({id}) => share(id, bits)).sort((a, b) => a - b);
  if (shares.every((at, n) => n === 0 || at - shares[n - 1] > 0.02)) return (id) => share(id, bits);
  view.note = " The peers stand evenly, in the order of their ids.";
  return (id) => {
    const before = shares.filter((at) => at < share(id, bits)).length;
    return (shares.includes(share(id, bits)) ? before : before - 0.5) / shares.length;
  };
}

function ring(view) {
  const place = ringPlaces(view);
  const spot = (id, radius) => {
    const angle = 2 * Math.PI * place(id);
    return [210 + radius * Math.sin(angle), 170 - radius * Math.cos(angle)];
  };
  let svg = `<circle cx="210" cy="170" r="120" class="edge"/>`;
  const [x, y] = spot(view.data.peers[view.focus].id, 120);
  const next = view.states[view.focus].successors[0];
  for (const {p, id, addr} of view.peers) {
    if (!view.knows(p)) continue;
    const [x2, y2] = spot(id, 120);
    svg += `<line x1="${x}" y1="${y}" x2="${x2}" y2="${y2}" class="${addr === next ? "edge on" : "knows"}"/>`;
  }
  for (const {p, id} of view.peers) {
    const [px, py] = spot(id, 120);
    const [lx, ly] = spot(id, 146);
    const name = escape(view.label(p));
    svg += `${peerMark(view, p, px, py)}<text x="${lx}" y="${ly + 4}" text-anchor="middle">${name}</text>`;
  }
  if (view.key) {
    const [kx, ky] = spot(view.key, 96);
    svg += `<text x="${kx}" y="${ky + 4}" text-anchor="middle">◆</text>`;
  }
  return `<svg viewBox="0 0 420 340" width="100%" role="img" aria-label="ring">${svg}</svg>`;
}

const bit = (id, depth) => (parseInt(id[depth >> 2], 16) >> (3 - (depth & 3))) & 1;

// Each leaf is a peer, as deep as its id needs to differ from all others. What hangs off the way down to the peer in
// focus are its buckets.
function trie(view) {
  const leaves = [...view.peers].sort((a, b) => (a.id < b.id ? -1 : 1));
  const across = new Map(leaves.map((leaf, n) => [leaf.p, (420 * (n + 0.5)) / leaves.length]));
  const focus = view.data.peers[view.focus].id;
  let svg = "";
  let deepest = 0;
  const place = (group, depth) => {
    deepest = Math.max(deepest, depth);
    const y = 20 + 34 * depth;
    if (group.length === 1 || depth === 255) {
      const x = across.get(group[0].p);
      const name = `<text x="${x}" y="${y + 24}" text-anchor="middle">${escape(view.label(group[0].p))}</text>`;
      return {x, y, svg: peerMark(view, group[0].p, x, y) + name, on: group[0].p === view.focus};
    }
    const halves = [0, 1].map((side) => group.filter((leaf) => bit(leaf.id, depth) === side));
    const below = halves.map((half, side) => half.length && {...place(half, depth + 1), side}).filter(Boolean);
    const x = below.reduce((sum, child) => sum + child.x, 0) / below.length;
    let drawn = "";
    for (const child of below) {
      drawn += `<line x1="${x}" y1="${y}" x2="${child.x}" y2="${child.y}" class="edge ${child.on ? "on" : ""}"/>
        <text class="faint" x="${(x + child.x) / 2 + (child.side ? 4 : -10)}"
          y="${(y + child.y) / 2}">${child.side}</text>`;
    }
    return {x, y, svg: drawn + below.map((child) => child.svg).join(""), on: below.some((child) => child.on)};
  };
  svg = place(leaves, 0).svg;
  if (view.key) svg += `<text x="${keySpot(leaves, across, view.key)}" y="12" text-anchor="middle">◆</text>`;
  const own = `own id ${focus.slice(0, 6)}…`;
  return `<svg viewBox="0 0 420 ${64 + 34 * deepest}" width="100%" role="img" aria-label="trie, ${own}">${svg}</svg>`;
}

// A key stands above the peer that is nearest to it by XOR.
function keySpot(leaves, across, key) {
  const distance = (id) => BigInt(`0x${id}`) ^ BigInt(`0x${key}`);
  const nearest = leaves.reduce((best, leaf) => (distance(leaf.id) < distance(best.id) ? leaf : best));
  return across.get(nearest.p);
}
