// What the peers know at a moment, as far as their moments tell it: whom each believes alive, and what it keeps.

// For each peer at moment `i`: {stands, knows: addresses, keys, successors: addresses}.
function stateAt(data, i) {
  const states = data.peers.map(() => ({stands: "not started", knows: new Set(), keys: new Set(), successors: []}));
  for (const change of data.changes) {
    if (change.moment > i) break;
    const state = states[change.peer];
    switch (change.change) {
      case "starts": Object.assign(state, fresh(change.keys)); break;
      case "stops": state.stands = "ended"; break;
      case "falls_silent": state.stands = "silent"; break;
      case "meets": state.knows.add(change.addr); break;
      case "loses": state.knows.delete(change.addr); break;
      case "keeps": state.keys.add(change.key); break;
      case "drops": state.keys.delete(change.key); break;
      case "follows": state.successors = change.addrs; break;
    }
  }
  return states;
}

// Whether peer `a` believes peer `b` alive: it stands in its table, or among its successors.
function believes(data, states, a, b) {
  const {addr} = data.peers[b];
  return states[a].knows.has(addr) || states[a].successors.includes(addr);
}

// A peer that starts, perhaps anew, knows nobody yet.
function fresh(keys) {
  return {stands: "runs", knows: new Set(), keys: new Set(keys), successors: []};
}

// The key that a moment is about: the first 64 digits in it that are no peer's.
function subject(data, moment) {
  const digits = JSON.stringify([moment.record.event, moment.record.actions]).match(/\b[0-9a-f]{64}\b/g) ?? [];
  return digits.find((id) => !data.ids.has(id)) ?? null;
}
