// What the user does: one moment is looked at, everything else follows from it.

const at = (id) => document.getElementById(id);
const view = {
  now: 0, steps: true, pitch: 20, perMs: 1, words: true, open: new Set(), way: new Set(), found: new Set(), hits: [],
};
let data;

function show(i, scroll = true) {
  view.now = Math.max(0, Math.min(data.moments.length - 1, i));
  view.way = new Set(chain(data.moments, view.now));
  const now = data.moments[view.now];
  at("now").value = view.now;
  at("clock").value = clock(now.at);
  const states = stateAt(data, view.now);
  at("map").innerHTML = drawMap(data, states, now);
  at("moment").innerHTML = drawMoment(data, now);
  at("state").innerHTML = drawState(data, states, now);
  at("cause").disabled = typeof now.cause !== "number";
  at("effect").disabled = now.effects.length === 0;
  if (scroll) bring(now);
  draw();
}

// Scrolls so that a moment is in the middle half.
function bring(moment) {
  const box = at("scroll");
  const diagram = layOut();
  const [x, y] = [diagram.x(moment.peer), diagram.y(moment)];
  const far = (place, size) => place < size / 4 || place > (3 * size) / 4;
  if (far(y - box.scrollTop, box.clientHeight)) box.scrollTop = y - box.clientHeight / 2;
  if (far(x - box.scrollLeft, box.clientWidth)) box.scrollLeft = x - box.clientWidth / 2;
}

// Gives the diagram its room.
function layOut() {
  const diagram = new Diagram(data, view, at("scroll").clientWidth);
  at("height").style.height = `${diagram.height}px`;
  at("heads").style.width = `${diagram.width}px`;
  return diagram;
}

function draw() {
  const diagram = layOut();
  const {scrollTop, clientHeight} = at("scroll");
  at("heads").innerHTML = diagram.lanes.map((lane) => head(lane)).join("");
  at("view").innerHTML = diagram.draw(scrollTop, Math.max(50, clientHeight - 32));
}

function head({peer, thread, x}) {
  const open = view.open.has(peer);
  if (thread !== "node") return `<small style="left:${x}px">${thread}</small>`;
  const name = escape(data.peers[peer].name) + (open ? " node" : "");
  return `<button style="left:${x}px" data-open="${peer}" aria-expanded="${open}"
    title="open or close: key o">${name}</button>`;
}

function toggle(peer) {
  if (!view.open.delete(peer)) view.open.add(peer);
  draw();
}

function press(id, on) {
  at(id).setAttribute("aria-pressed", on);
  show(view.now);
}

function zoom(factor) {
  if (view.steps) view.pitch = Math.max(1, Math.min(60, view.pitch * factor));
  else view.perMs = Math.max(1e-4, Math.min(1000, view.perMs * factor));
  show(view.now);
}

function trueTime() {
  view.steps = !view.steps;
  const last = data.moments.at(-1).at / 1000 || 1;
  if (!view.steps && view.perMs === 1) view.perMs = (4 * at("scroll").clientHeight) / last;
  press("scale", !view.steps);
}

function find(text) {
  view.hits = search(data.moments, text);
  view.found = new Set(view.hits.flat());
  const sorts = [...new Set(data.moments.map((moment) => moment.sort))].sort().join(", ");
  const outcome = view.hits.length ? `${view.hits.length} found (n: next)` : `none; there are ${sorts}`;
  at("found").value = text.trim() ? outcome : "";
  if (view.hits.length) show(view.hits[0].at(-1));
  else draw();
}

function nextHit() {
  const ends = view.hits.map((hit) => hit.at(-1));
  if (ends.length) show(ends.find((end) => end > view.now) ?? ends[0]);
}

// The next moment of the same peer, in this direction.
function beside(step) {
  const {peer} = data.moments[view.now];
  for (let i = view.now + step; data.moments[i]; i += step) if (data.moments[i].peer === peer) return show(i);
}

const cause = () => typeof data.moments[view.now].cause === "number" && show(data.moments[view.now].cause);
const effect = () => data.moments[view.now].effects.length && show(data.moments[view.now].effects[0]);
const words = () => { view.words = !view.words; press("words", view.words); };
const KEYS = {
  ArrowDown: () => show(view.now + 1), ArrowUp: () => show(view.now - 1), ArrowLeft: cause, ArrowRight: effect,
  PageDown: () => beside(1), PageUp: () => beside(-1), Home: () => show(0), End: () => show(data.moments.length - 1),
  o: () => toggle(data.moments[view.now].peer), t: trueTime, w: words, n: nextHit,
  "+": () => zoom(1.5), "-": () => zoom(1 / 1.5), "/": () => at("find").focus(),
};

function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT" || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  document.addEventListener("click", ({target}) => {
    const {go, open, peer} = target.closest("[data-go], [data-open], [data-peer]")?.dataset ?? {};
    if (go !== undefined) show(Number(go), target.closest("aside") !== null);
    if (open !== undefined) toggle(Number(open));
    if (peer !== undefined) lastOf(Number(peer));
  });
  at("scroll").addEventListener("scroll", draw);
  window.addEventListener("resize", draw);
  at("now").addEventListener("input", ({target}) => show(Number(target.value)));
  at("find").addEventListener("change", ({target}) => find(target.value));
  const buttons = {cause, effect, scale: trueTime, words, in: () => zoom(1.5), out: () => zoom(1 / 1.5)};
  for (const [id, act] of Object.entries(buttons)) at(id).addEventListener("click", act);
}

// A click on a peer of the map looks at the last moment of it until then.
function lastOf(peer) {
  for (let i = view.now; i >= 0; i--) if (data.moments[i].peer === peer) return show(i);
}

async function begin() {
  data = await unpack(at("data").textContent);
  derive(data);
  data.ids = new Set(data.peers.map((peer) => peer.id));
  at("now").max = data.moments.length - 1;
  at("legend").textContent = LEGEND;
  at("sum").textContent = [data.summary, ...data.complaints].join(" · ");
  listen();
  show(data.start);
  document.body.dataset.ready = "yes";
}

begin().catch((error) => {
  at("sum").textContent = `This page cannot be shown: ${error}. It needs a browser of 2023 or newer.`;
});
