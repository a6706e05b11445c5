//! Where a peer on a lookup's shortlist stands, and what each event makes of it: one table, [`Standing::after`].
//!
//! ```text
//!  New ── Asked ──► Asked ── Named, Held ──► Answered ── Asked, if partial ──► Asked again
//!                     │                         ▲
//!                     └── Waited ──► Overdue ───┘
//! ```
//! From anywhere, `Failed` strikes a peer and `Void` takes it out; `Unidentified` strikes one whose proof is missing.

use crate::config::WIDTH;
use crate::time::Time;

/// Whether a peer has shown that it has its id at its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    /// It was only named by others.
    Missing,
    /// It named itself after it was asked. Until then it was a stranger, and had yet to learn that we receive.
    Given,
    /// It had named itself before it was asked.
    Known,
    /// It said under its id that it holds the block.
    Holds,
}

impl Proof {
    fn or(self, known: bool) -> Self {
        if self == Self::Missing && known { Self::Known } else { self }
    }
}

/// What a lookup knows of a peer on its shortlist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Named, not asked. A *fresh* one is a contact that answered us a moment ago.
    New { fresh: bool, proof: Proof },
    /// A question is out, the second one if `again`. It occupies a place until it is `overdue`.
    Asked { again: bool, proof: Proof, overdue: Time },
    /// The question is still out, but takes longer than usual. It occupies no place.
    Overdue { again: bool, proof: Proof },
    /// It answered. A `partial` answer may have left out names: the peer is asked again.
    Answered { partial: bool, proof: Proof },
    /// It did not answer, or did not prove its id.
    Failed,
    /// It said goodbye, or is no peer, or is this one.
    Void,
}

/// What happens to a peer on the shortlist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::overlay::kademlia) enum Event {
    /// A question goes out. It is overdue at that time; a `known` peer named itself lately.
    Asked { known: bool, overdue: Time },
    /// It named `count` others. A peer that knows that we receive names `usual` at least.
    Named { count: usize, usual: usize },
    /// It said that it holds the block, and under which id.
    Held,
    /// It named itself.
    Identified,
    /// It did not prove its id.
    Unidentified,
    /// Time has passed; now it is so late.
    Waited(Time),
    /// It left a question without an answer, or is gone.
    Failed,
    /// It is no part of the network any longer, or never was.
    Void,
    /// That it answered a moment ago is not enough any more: it has to be asked.
    Wanted,
}

impl Standing {
    /// The table of transitions. An event that is not in the line of a standing changes nothing.
    pub(super) fn after(self, event: Event) -> Self {
        use Proof::{Given, Holds, Known, Missing};
        use Standing::{Answered, Asked, Failed, New, Overdue, Void};
        match (self, event) {
            (_, Event::Void) => Void,
            (Failed | Void, _) => self,

            (New { proof, .. }, Event::Asked { known, overdue }) => {
                Asked { again: false, proof: proof.or(known), overdue }
            }
            (Answered { partial: true, proof }, Event::Asked { known, overdue }) => {
                Asked { again: true, proof: proof.or(known), overdue }
            }
            (Asked { again, proof, overdue }, Event::Waited(now)) if overdue <= now => Overdue { again, proof },

            (Asked { again, proof, .. } | Overdue { again, proof }, Event::Named { count, usual }) => {
                let enough = if proof == Known { usual } else { WIDTH };
                Answered { partial: !again && count < enough, proof }
            }
            (Asked { again, .. } | Overdue { again, .. }, Event::Held) => Answered { partial: !again, proof: Holds },

            (New { fresh, proof: Missing }, Event::Identified) => New { fresh, proof: Known },
            (Asked { again, proof: Missing, overdue }, Event::Identified) => Asked { again, proof: Given, overdue },
            (Overdue { again, proof: Missing }, Event::Identified) => Overdue { again, proof: Given },
            (Answered { partial, proof: Missing }, Event::Identified) => Answered { partial, proof: Given },
            (_, Event::Unidentified) if !self.is_proven() => Failed,

            // It answered once; only the second answer was lost.
            (Asked { again: true, proof, .. } | Overdue { again: true, proof }, Event::Failed) if proof != Missing => {
                Answered { partial: false, proof }
            }
            (_, Event::Failed) => Failed,
            (New { proof, .. }, Event::Wanted) => New { fresh: false, proof },
            _ => self,
        }
    }

    fn proof(self) -> Option<Proof> {
        match self {
            Self::New { proof, .. }
            | Self::Asked { proof, .. }
            | Self::Overdue { proof, .. }
            | Self::Answered { proof, .. } => Some(proof),
            Self::Failed | Self::Void => None,
        }
    }

    /// It has shown that it has its id at its address.
    pub(super) fn is_proven(self) -> bool {
        self.proof().is_some_and(|proof| proof != Proof::Missing)
    }

    /// It says that it holds the block.
    pub(super) fn holds(self) -> bool {
        self.proof() == Some(Proof::Holds)
    }

    /// It is out of the search.
    pub(super) fn is_out(self) -> bool {
        matches!(self, Self::Failed | Self::Void)
    }

    /// Its question has neither an answer nor failed.
    pub(super) fn is_awaited(self) -> bool {
        matches!(self, Self::Asked { .. } | Self::Overdue { .. })
    }

    /// It counts as alive though it was not asked.
    pub(super) fn is_spared(self) -> bool {
        matches!(self, Self::New { fresh: true, .. })
    }

    /// It counts as alive.
    pub(super) fn lives(self) -> bool {
        matches!(self, Self::Answered { .. }) && self.is_proven() || self.is_spared()
    }

    /// It has said all that it will.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Answered { partial: false, .. }) && self.is_proven()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_micros(1000);

    const LATER: Time = Time::from_micros(2000);

    const PROOFS: [Proof; 4] = [Proof::Missing, Proof::Given, Proof::Known, Proof::Holds];

    const EVENTS: [(&str, Event); 12] = [
        ("asked", Event::Asked { known: false, overdue: NOW }),
        ("known", Event::Asked { known: true, overdue: NOW }),
        ("few", Event::Named { count: 2, usual: 3 }),
        ("some", Event::Named { count: 3, usual: 3 }),
        ("all", Event::Named { count: WIDTH, usual: 3 }),
        ("held", Event::Held),
        ("ident", Event::Identified),
        ("anon", Event::Unidentified),
        ("early", Event::Waited(NOW)),
        ("late", Event::Waited(LATER)),
        ("fail", Event::Failed),
        ("want", Event::Wanted),
    ];

    /// Every standing there can be, but for the times.
    fn standings() -> Vec<Standing> {
        let flags = [false, true];
        let both = |make: fn(bool, Proof) -> Standing| {
            flags.into_iter().flat_map(move |flag| PROOFS.map(|proof| make(flag, proof)))
        };
        both(|fresh, proof| Standing::New { fresh, proof })
            .chain(both(|again, proof| Standing::Asked { again, proof, overdue: LATER }))
            .chain(both(|again, proof| Standing::Overdue { again, proof }))
            .chain(both(|partial, proof| Standing::Answered { partial, proof }))
            .chain([Standing::Failed, Standing::Void])
            .collect()
    }

    /// A capital for the standing, `+` for its flag, a small letter for its proof.
    fn short(standing: Standing) -> String {
        let (name, flag) = match standing {
            Standing::New { fresh, .. } => ("N", fresh),
            Standing::Asked { again, .. } => ("Q", again),
            Standing::Overdue { again, .. } => ("O", again),
            Standing::Answered { partial, .. } => ("A", partial),
            Standing::Failed => ("Failed", false),
            Standing::Void => ("Void", false),
        };
        let proof = standing.proof().map_or("", |proof| match proof {
            Proof::Missing => "m",
            Proof::Given => "g",
            Proof::Known => "k",
            Proof::Holds => "h",
        });
        format!("{name}{}{proof}", if flag { "+" } else { "" })
    }

    fn table() -> String {
        let mut table = format!("{:8}", "");
        table += &EVENTS.map(|(name, _)| format!("{name:7}")).concat();
        for standing in standings() {
            let cell = |(_, event): (&str, Event)| {
                let next = standing.after(event);
                format!("{:7}", if next == standing { "·".to_owned() } else { short(next) })
            };
            table = format!("{}\n{:8}{}", table.trim_end(), short(standing), EVENTS.map(cell).concat());
        }
        table.trim_end().to_owned()
    }

    #[test]
    fn every_standing_answers_every_event_as_the_table_says() {
        assert_eq!(table(), TABLE.trim_matches('\n'), "\n{}\n", table());
    }

    #[test]
    fn who_is_void_stays_so_and_anybody_may_become_it() {
        for standing in standings() {
            assert_eq!(standing.after(Event::Void), Standing::Void);
            assert!(EVENTS.iter().all(|(_, event)| Standing::Void.after(*event) == Standing::Void));
        }
    }

    #[test]
    fn a_proof_is_never_lost_while_a_peer_is_in_the_search() {
        for standing in standings().into_iter().filter(|standing| standing.is_proven()) {
            for next in EVENTS.map(|(_, event)| standing.after(event)) {
                assert!(next.is_proven() || next.is_out(), "{standing:?} became {next:?}");
                assert!(next.holds() || next.is_out() || !standing.holds(), "{standing:?} became {next:?}");
            }
        }
    }

    /// Not every line can be reached: nobody holds a block before it was asked.
    const TABLE: &str = "
        asked  known  few    some   all    held   ident  anon   early  late   fail   want
Nm      Qm     Qk     ·      ·      ·      ·      Nk     Failed ·      ·      Failed ·
Ng      Qg     Qg     ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
Nk      Qk     Qk     ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
Nh      Qh     Qh     ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
N+m     Qm     Qk     ·      ·      ·      ·      N+k    Failed ·      ·      Failed Nm
N+g     Qg     Qg     ·      ·      ·      ·      ·      ·      ·      ·      Failed Ng
N+k     Qk     Qk     ·      ·      ·      ·      ·      ·      ·      ·      Failed Nk
N+h     Qh     Qh     ·      ·      ·      ·      ·      ·      ·      ·      Failed Nh
Qm      ·      ·      A+m    A+m    Am     A+h    Qg     Failed ·      Om     Failed ·
Qg      ·      ·      A+g    A+g    Ag     A+h    ·      ·      ·      Og     Failed ·
Qk      ·      ·      A+k    Ak     Ak     A+h    ·      ·      ·      Ok     Failed ·
Qh      ·      ·      A+h    A+h    Ah     A+h    ·      ·      ·      Oh     Failed ·
Q+m     ·      ·      Am     Am     Am     Ah     Q+g    Failed ·      O+m    Failed ·
Q+g     ·      ·      Ag     Ag     Ag     Ah     ·      ·      ·      O+g    Ag     ·
Q+k     ·      ·      Ak     Ak     Ak     Ah     ·      ·      ·      O+k    Ak     ·
Q+h     ·      ·      Ah     Ah     Ah     Ah     ·      ·      ·      O+h    Ah     ·
Om      ·      ·      A+m    A+m    Am     A+h    Og     Failed ·      ·      Failed ·
Og      ·      ·      A+g    A+g    Ag     A+h    ·      ·      ·      ·      Failed ·
Ok      ·      ·      A+k    Ak     Ak     A+h    ·      ·      ·      ·      Failed ·
Oh      ·      ·      A+h    A+h    Ah     A+h    ·      ·      ·      ·      Failed ·
O+m     ·      ·      Am     Am     Am     Ah     O+g    Failed ·      ·      Failed ·
O+g     ·      ·      Ag     Ag     Ag     Ah     ·      ·      ·      ·      Ag     ·
O+k     ·      ·      Ak     Ak     Ak     Ah     ·      ·      ·      ·      Ak     ·
O+h     ·      ·      Ah     Ah     Ah     Ah     ·      ·      ·      ·      Ah     ·
Am      ·      ·      ·      ·      ·      ·      Ag     Failed ·      ·      Failed ·
Ag      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
Ak      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
Ah      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
A+m     Q+m    Q+k    ·      ·      ·      ·      A+g    Failed ·      ·      Failed ·
A+g     Q+g    Q+g    ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
A+k     Q+k    Q+k    ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
A+h     Q+h    Q+h    ·      ·      ·      ·      ·      ·      ·      ·      Failed ·
Failed  ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·
Void    ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·
";
}
