//! What datagrams that seem to come from others cannot do to who stores beside them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rand::{Rng, RngExt};

use super::network::Weather;
use super::sybils::SybilNet;
use crate::config::REPLICAS;
use crate::id::Id;
use crate::node::{Answer, Command, Notice};
use crate::overlay::OverlayKind;
use crate::wire::{Message, Request, Sender};

/// Eighty datagrams a second.
const PACE: Duration = Duration::from_micros(12_500);
/// A store of a file of one block takes as many round trips at most.
const SOON: u32 = 10;
const STORES: u32 = 20;

/// What is said in a contact's name.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Forgery {
    /// That it leaves.
    Goodbye,
    /// That another peer is at its address.
    OtherId,
}

/// Pings the peer in slot 0, as it seems from the address of the one in slot `name`.
fn forge(net: &mut SybilNet, name: usize, forgery: Forgery) {
    let (mut peer, made_up) = (net.world.peer(name), Id::random(net.world.rng()));
    if forgery == Forgery::OtherId {
        peer.id = made_up;
    }
    let (recalls, magic) = (net.world.rng().random(), net.world.rng().next_u64() >> 11);
    let leaving = forgery == Forgery::Goodbye;
    let sender = Sender { leaving, recalls, ..Sender::member(peer.id, peer.addr) };
    net.world.slip(name, 0, Message::request(magic, sender, Request::Ping));
}

#[test]
fn eighty_forged_goodbyes_or_false_ids_a_second_take_nobody_out_of_a_table_and_no_copy_from_a_store() {
    use Forgery::{Goodbye, OtherId};
    for (rtt, said) in [20, 100].into_iter().flat_map(|rtt| {
        [&[Goodbye][..], &[OtherId], &[Goodbye, OtherId]].map(|said| (Duration::from_millis(rtt), said))
    }) {
        let mut net = SybilNet::of(OverlayKind::Kademlia, 500, 9, REPLICAS);
        net.world.set_weather(Weather::still(rtt));
        net.world.run_for(Duration::from_secs(20)).expect("nothing breaks");
        let lost = Rc::new(Cell::new(0));
        let counted = lost.clone();
        net.world.watch(Box::new(move |_, _, notice| {
            counted.set(counted.get() + u32::from(matches!(notice, Notice::PeerDown { .. })));
        }));
        let (mut forged, mut longest) = (0, Duration::ZERO);
        for n in 0..STORES {
            let (path, _) = net.file(0, 1000);
            let began = net.world.now();
            let store = net.world.command(0, Command::Store { path, manifest: None, keep: false });
            while net.world.now().since(began) < Duration::from_secs(1) || net.world.answer(0, store).is_none() {
                let name = 1 + forged % 8;
                forge(&mut net, name, said[forged / 8 % said.len()]);
                forged += 1;
                net.world.run_for(PACE).expect("nothing breaks");
                let known = net.world.node(0).expect("it is up").overlay().peers().len();
                assert_eq!(known, 8, "{said:?} at {rtt:?}: after {forged} of them");
            }
            let Some(Answer::Stored { copies, wanted, took, .. }) = net.world.take_answer(0, store) else {
                panic!("{said:?} at {rtt:?}: store {n} failed")
            };
            assert!(wanted == REPLICAS && copies[..REPLICAS].iter().all(|&blocks| blocks == 0), "{n}: {copies:?}");
            longest = longest.max(took);
        }
        println!("{said:?} at {rtt:?}: {forged} forged, {} lost, {longest:?} at most", lost.get());
        assert!(lost.get() == 0 && longest <= rtt * SOON, "{said:?} at {rtt:?}: {} lost, {longest:?}", lost.get());
    }
}
