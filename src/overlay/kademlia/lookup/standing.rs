//! Where a peer on a lookup's shortlist stands, and what each event makes of it: one table, [`Standing::after`].
//!
//! ```text
//!  New ── Asked ──► Asked ── Named, Held ──► Answered ── Asked, if partial ──► Asked again
//! ```
//! A peer that was asked may be late, ever later: see [`Lateness`]. Its answer counts all the same. From anywhere,
//! `Failed` strikes a peer and `Void` takes it out; `Unidentified` strikes one whose proof is missing.

use crate::config::WIDTH;
use crate::overlay::Late;

/// Whether a peer has shown that it has its id at its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IdProof {
    /// It was only named by others.
    Missing,
    /// It named itself after it was asked. Until then it was a stranger, and had yet to learn that we receive.
    Given,
    /// It had named itself before it was asked.
    Known,
    /// It said under its id that it holds the block.
    Holds,
}

impl IdProof {
    fn or(self, known: bool) -> Self {
        if self == Self::Missing && known { Self::Known } else { self }
    }
}

/// How long a question has been without an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lateness {
    /// Not longer than usual. The peer occupies a place.
    Usual,
    /// Longer than usual. It occupies no place, and is waited for.
    Overdue,
    /// So long that it is hardly chance. It is waited for only where too few others live.
    Doubtful,
    /// It was found dead before it was asked: its answer is not waited for.
    Buried,
}

/// What a lookup knows of a peer on its shortlist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Named, not asked. A *fresh* one is a contact that answered us a moment ago.
    New { fresh: bool, proof: IdProof },
    /// A question is out, the second one if `again`.
    Asked { again: bool, proof: IdProof, late: Lateness },
    /// It answered. A `partial` answer may have left out names: the peer is asked again.
    Answered { partial: bool, proof: IdProof },
    /// It did not answer, or did not prove its id.
    Failed,
    /// It said goodbye, or is no peer, or is this one.
    Void,
}

/// What happens to a peer on the shortlist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::overlay::kademlia) enum ShortlistEvent {
    /// A question goes out. A `known` peer named itself lately, a `dead` one was found so.
    Asked { known: bool, dead: bool },
    /// It named `count` others. A peer that knows that we receive names `usual` at least.
    Named { count: usize, usual: usize },
    /// It said that it holds the block, and under which id.
    Held,
    /// It named itself.
    Identified,
    /// It did not prove its id.
    Unidentified,
    /// It keeps us waiting.
    Late(Late),
    /// It left a question without an answer, or is gone.
    Failed,
    /// It is no part of the network any longer, or never was.
    Void,
    /// That it answered a moment ago is not enough any more: it has to be asked.
    Wanted,
    /// It may know others that are near to itself: it is asked again.
    AskedAgain,
}

impl Standing {
    /// The table of transitions. An event that is not in the line of a standing changes nothing.
    pub(super) fn after(self, event: ShortlistEvent) -> Self {
        use IdProof::{Given, Holds, Known, Missing};
        use Standing::{Answered, Asked, Failed, New, Void};
        match (self, event) {
            (_, ShortlistEvent::Void) => Void,
            (Failed | Void, _) => self,

            (New { proof, .. }, ShortlistEvent::Asked { known, dead }) => Self::asked(false, proof.or(known), dead),
            (Answered { partial: true, proof }, ShortlistEvent::Asked { known, dead }) => {
                Self::asked(true, proof.or(known), dead)
            }
            (Asked { again, proof, late: Lateness::Usual }, ShortlistEvent::Late(Late::Overdue)) => {
                Asked { again, proof, late: Lateness::Overdue }
            }
            // It answered once; only the second answer was lost.
            (Asked { again: true, proof, .. }, ShortlistEvent::Late(Late::Doubtful) | ShortlistEvent::Failed)
                if proof != Missing =>
            {
                Answered { partial: false, proof }
            }
            (Asked { again, proof, late }, ShortlistEvent::Late(Late::Doubtful)) => {
                Asked { again, proof, late: late.max(Lateness::Doubtful) }
            }

            (Asked { again, proof, .. }, ShortlistEvent::Named { count, usual }) => {
                let enough = if proof == Known { usual } else { WIDTH };
                Answered { partial: !again && count < enough, proof }
            }
            (Asked { again, .. }, ShortlistEvent::Held) => Answered { partial: !again, proof: Holds },

            (New { fresh, proof: Missing }, ShortlistEvent::Identified) => New { fresh, proof: Known },
            (Asked { again, proof: Missing, late }, ShortlistEvent::Identified) => Asked { again, proof: Given, late },
            (Answered { partial, proof: Missing }, ShortlistEvent::Identified) => Answered { partial, proof: Given },
            (_, ShortlistEvent::Unidentified) if !self.is_proven() => Failed,

            (_, ShortlistEvent::Failed) => Failed,
            (New { proof, .. }, ShortlistEvent::Wanted) => New { fresh: false, proof },
            (Answered { proof, .. }, ShortlistEvent::AskedAgain) => Answered { partial: true, proof },
            _ => self,
        }
    }

    fn asked(again: bool, proof: IdProof, dead: bool) -> Self {
        let late = if dead { Lateness::Buried } else { Lateness::Usual };
        Self::Asked { again, proof, late }
    }

    fn proof(self) -> Option<IdProof> {
        match self {
            Self::New { proof, .. } | Self::Asked { proof, .. } | Self::Answered { proof, .. } => Some(proof),
            Self::Failed | Self::Void => None,
        }
    }

    /// It has shown that it has its id at its address.
    pub(super) fn is_proven(self) -> bool {
        self.proof().is_some_and(|proof| proof != IdProof::Missing)
    }

    /// It says that it holds the block.
    pub(super) fn holds(self) -> bool {
        self.proof() == Some(IdProof::Holds)
    }

    /// It is out of the search.
    pub(super) fn is_out(self) -> bool {
        matches!(self, Self::Failed | Self::Void)
    }

    /// How late its answer is, if one is out.
    pub(super) fn lateness(self) -> Option<Lateness> {
        match self {
            Self::Asked { late, .. } => Some(late),
            _ => None,
        }
    }

    /// Its answer is waited for, even if others answer.
    pub(super) fn is_awaited(self) -> bool {
        self.lateness().is_some_and(|late| late <= Lateness::Overdue)
    }

    /// Its answer is not waited for; a `doubtful` one's only if that will do.
    pub(super) fn is_given_up(self, doubtful: bool) -> bool {
        self.lateness().is_some_and(|late| late == Lateness::Buried || late == Lateness::Doubtful && doubtful)
    }

    /// It was asked and is silent.
    pub(super) fn is_silent(self) -> bool {
        self == Self::Failed || self.is_given_up(true)
    }

    /// It counts as alive though it was not asked.
    pub(super) fn is_spared(self) -> bool {
        matches!(self, Self::New { fresh: true, .. })
    }

    /// It counts as alive.
    pub(super) fn lives(self) -> bool {
        matches!(self, Self::Answered { .. }) && self.is_proven() || self.is_spared()
    }

    /// It has said something.
    pub(super) fn has_answered(self) -> bool {
        matches!(self, Self::Answered { .. } | Self::Asked { again: true, .. })
    }

    /// It has said all that it will.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Answered { partial: false, .. }) && self.is_proven()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROOFS: [IdProof; 4] = [IdProof::Missing, IdProof::Given, IdProof::Known, IdProof::Holds];

    const EVENTS: [(&str, ShortlistEvent); 14] = [
        ("asked", ShortlistEvent::Asked { known: false, dead: false }),
        ("known", ShortlistEvent::Asked { known: true, dead: false }),
        ("dead", ShortlistEvent::Asked { known: false, dead: true }),
        ("few", ShortlistEvent::Named { count: 2, usual: 3 }),
        ("some", ShortlistEvent::Named { count: 3, usual: 3 }),
        ("all", ShortlistEvent::Named { count: WIDTH, usual: 3 }),
        ("held", ShortlistEvent::Held),
        ("ident", ShortlistEvent::Identified),
        ("anon", ShortlistEvent::Unidentified),
        ("late", ShortlistEvent::Late(Late::Overdue)),
        ("doubt", ShortlistEvent::Late(Late::Doubtful)),
        ("fail", ShortlistEvent::Failed),
        ("want", ShortlistEvent::Wanted),
        ("again", ShortlistEvent::AskedAgain),
    ];

    /// Every standing there can be.
    fn standings() -> Vec<Standing> {
        let flags = [false, true];
        let both = |make: fn(bool, IdProof) -> Standing| {
            flags.into_iter().flat_map(move |flag| PROOFS.map(|proof| make(flag, proof)))
        };
        both(|fresh, proof| Standing::New { fresh, proof })
            .chain(both(|again, proof| Standing::Asked { again, proof, late: Lateness::Usual }))
            .chain(both(|again, proof| Standing::Asked { again, proof, late: Lateness::Overdue }))
            .chain(both(|again, proof| Standing::Asked { again, proof, late: Lateness::Doubtful }))
            .chain(both(|again, proof| Standing::Asked { again, proof, late: Lateness::Buried }))
            .chain(both(|partial, proof| Standing::Answered { partial, proof }))
            .chain([Standing::Failed, Standing::Void])
            .collect()
    }

    /// A capital for the standing, `+` for its flag, a small letter for its proof.
    fn short(standing: Standing) -> String {
        let (name, flag) = match standing {
            Standing::New { fresh, .. } => ("N", fresh),
            Standing::Asked { again, late: Lateness::Usual, .. } => ("Q", again),
            Standing::Asked { again, late: Lateness::Overdue, .. } => ("O", again),
            Standing::Asked { again, late: Lateness::Doubtful, .. } => ("D", again),
            Standing::Asked { again, late: Lateness::Buried, .. } => ("B", again),
            Standing::Answered { partial, .. } => ("A", partial),
            Standing::Failed => ("Failed", false),
            Standing::Void => ("Void", false),
        };
        let proof = standing.proof().map_or("", |proof| match proof {
            IdProof::Missing => "m",
            IdProof::Given => "g",
            IdProof::Known => "k",
            IdProof::Holds => "h",
        });
        format!("{name}{}{proof}", if flag { "+" } else { "" })
    }

    fn table() -> String {
        let mut table = format!("{:8}", "");
        table += &EVENTS.map(|(name, _)| format!("{name:7}")).concat();
        for standing in standings() {
            let cell = |(_, event): (&str, ShortlistEvent)| {
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
            assert_eq!(standing.after(ShortlistEvent::Void), Standing::Void);
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
        asked  known  dead   few    some   all    held   ident  anon   late   doubt  fail   want   again
Nm      Qm     Qk     Bm     ·      ·      ·      ·      Nk     Failed ·      ·      Failed ·      ·
Ng      Qg     Qg     Bg     ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      ·
Nk      Qk     Qk     Bk     ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      ·
Nh      Qh     Qh     Bh     ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      ·
N+m     Qm     Qk     Bm     ·      ·      ·      ·      N+k    Failed ·      ·      Failed Nm     ·
N+g     Qg     Qg     Bg     ·      ·      ·      ·      ·      ·      ·      ·      Failed Ng     ·
N+k     Qk     Qk     Bk     ·      ·      ·      ·      ·      ·      ·      ·      Failed Nk     ·
N+h     Qh     Qh     Bh     ·      ·      ·      ·      ·      ·      ·      ·      Failed Nh     ·
Qm      ·      ·      ·      A+m    A+m    Am     A+h    Qg     Failed Om     Dm     Failed ·      ·
Qg      ·      ·      ·      A+g    A+g    Ag     A+h    ·      ·      Og     Dg     Failed ·      ·
Qk      ·      ·      ·      A+k    Ak     Ak     A+h    ·      ·      Ok     Dk     Failed ·      ·
Qh      ·      ·      ·      A+h    A+h    Ah     A+h    ·      ·      Oh     Dh     Failed ·      ·
Q+m     ·      ·      ·      Am     Am     Am     Ah     Q+g    Failed O+m    D+m    Failed ·      ·
Q+g     ·      ·      ·      Ag     Ag     Ag     Ah     ·      ·      O+g    Ag     Ag     ·      ·
Q+k     ·      ·      ·      Ak     Ak     Ak     Ah     ·      ·      O+k    Ak     Ak     ·      ·
Q+h     ·      ·      ·      Ah     Ah     Ah     Ah     ·      ·      O+h    Ah     Ah     ·      ·
Om      ·      ·      ·      A+m    A+m    Am     A+h    Og     Failed ·      Dm     Failed ·      ·
Og      ·      ·      ·      A+g    A+g    Ag     A+h    ·      ·      ·      Dg     Failed ·      ·
Ok      ·      ·      ·      A+k    Ak     Ak     A+h    ·      ·      ·      Dk     Failed ·      ·
Oh      ·      ·      ·      A+h    A+h    Ah     A+h    ·      ·      ·      Dh     Failed ·      ·
O+m     ·      ·      ·      Am     Am     Am     Ah     O+g    Failed ·      D+m    Failed ·      ·
O+g     ·      ·      ·      Ag     Ag     Ag     Ah     ·      ·      ·      Ag     Ag     ·      ·
O+k     ·      ·      ·      Ak     Ak     Ak     Ah     ·      ·      ·      Ak     Ak     ·      ·
O+h     ·      ·      ·      Ah     Ah     Ah     Ah     ·      ·      ·      Ah     Ah     ·      ·
Dm      ·      ·      ·      A+m    A+m    Am     A+h    Dg     Failed ·      ·      Failed ·      ·
Dg      ·      ·      ·      A+g    A+g    Ag     A+h    ·      ·      ·      ·      Failed ·      ·
Dk      ·      ·      ·      A+k    Ak     Ak     A+h    ·      ·      ·      ·      Failed ·      ·
Dh      ·      ·      ·      A+h    A+h    Ah     A+h    ·      ·      ·      ·      Failed ·      ·
D+m     ·      ·      ·      Am     Am     Am     Ah     D+g    Failed ·      ·      Failed ·      ·
D+g     ·      ·      ·      Ag     Ag     Ag     Ah     ·      ·      ·      Ag     Ag     ·      ·
D+k     ·      ·      ·      Ak     Ak     Ak     Ah     ·      ·      ·      Ak     Ak     ·      ·
D+h     ·      ·      ·      Ah     Ah     Ah     Ah     ·      ·      ·      Ah     Ah     ·      ·
Bm      ·      ·      ·      A+m    A+m    Am     A+h    Bg     Failed ·      ·      Failed ·      ·
Bg      ·      ·      ·      A+g    A+g    Ag     A+h    ·      ·      ·      ·      Failed ·      ·
Bk      ·      ·      ·      A+k    Ak     Ak     A+h    ·      ·      ·      ·      Failed ·      ·
Bh      ·      ·      ·      A+h    A+h    Ah     A+h    ·      ·      ·      ·      Failed ·      ·
B+m     ·      ·      ·      Am     Am     Am     Ah     B+g    Failed ·      ·      Failed ·      ·
B+g     ·      ·      ·      Ag     Ag     Ag     Ah     ·      ·      ·      Ag     Ag     ·      ·
B+k     ·      ·      ·      Ak     Ak     Ak     Ah     ·      ·      ·      Ak     Ak     ·      ·
B+h     ·      ·      ·      Ah     Ah     Ah     Ah     ·      ·      ·      Ah     Ah     ·      ·
Am      ·      ·      ·      ·      ·      ·      ·      Ag     Failed ·      ·      Failed ·      A+m
Ag      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      A+g
Ak      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      A+k
Ah      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      A+h
A+m     Q+m    Q+k    B+m    ·      ·      ·      ·      A+g    Failed ·      ·      Failed ·      ·
A+g     Q+g    Q+g    B+g    ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      ·
A+k     Q+k    Q+k    B+k    ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      ·
A+h     Q+h    Q+h    B+h    ·      ·      ·      ·      ·      ·      ·      ·      Failed ·      ·
Failed  ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·
Void    ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·      ·
";
}
