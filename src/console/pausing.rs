//! A node that stands still, for people.

use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Backend;
use super::escape::quoted;
use super::perform::Shows;
use super::reply::{ConsoleAnswer, LineReply};
use crate::node::FailureKind;
use crate::overlay::OverlayKind;
use crate::runtime::{MAX_PAUSE, Pause};

/// A node stood still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paused {
    /// For how long it stood still.
    pub took: Duration,
    /// Its network's overlay.
    pub overlay: OverlayKind,
}

impl Serialize for Paused {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let [least, most] = self.overlay.silence();
        let mut fields = to.serialize_struct("Paused", 4)?;
        fields.serialize_field("took", &self.took)?;
        fields.serialize_field("overlay", self.overlay.name())?;
        fields.serialize_field("dead_after", &least)?;
        fields.serialize_field("dead_within", &most)?;
        fields.end()
    }
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, most] = self.overlay.silence();
        let made = if self.took < least {
            "no neighbour can have called this peer dead"
        } else if self.took > most {
            "its neighbours have called this peer dead, unless what they sent got lost, and find that it lives"
        } else {
            "neighbours may have called this peer dead, and find that it lives"
        };
        write!(f, "stood still for {:.2} s: {made}", self.took.as_secs_f64())
    }
}

/// Reads `SECONDS`.
///
/// # Errors
/// For people: it is no such number, or too large a one.
pub(super) fn parse_pause(word: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = word.parse().ok();
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.filter(|span| !span.is_zero() && *span <= MAX_PAUSE).ok_or_else(|| {
        format!("a pause takes more than 0 and at most {} seconds, not {}", MAX_PAUSE.as_secs(), quoted(word))
    })
}

/// Has the node stand still, and waits until that is over. What its neighbours make of it is said before.
pub(super) fn pause(backend: &impl Backend, shows: &dyn Shows, span: Duration) -> LineReply {
    let mut overlay = OverlayKind::default();
    for told in backend.pause(span).into_iter().flatten() {
        match told {
            Pause::Begun(of) => {
                overlay = of;
                let [least, most] = of.silence().map(|span| span.as_secs_f64());
                shows.say(&format!(
                    "the node stands still for {} s; on {} those who look after it call it dead after {least:.1} to \
                     {most:.1} s of silence, if nothing gets lost",
                    span.as_secs_f64(),
                    of.name()
                ));
            }
            Pause::Over(took) => return LineReply::Console(ConsoleAnswer::Paused(Paused { took, overlay })),
        }
    }
    LineReply::failed(FailureKind::Other, "the peer ended before the pause did, or there is none here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_a_bound_and_says_what_neighbours_made_of_it() {
        assert_eq!(parse_pause("2.5"), Ok(Duration::from_millis(2500)));
        for wrong in ["0", "60.1", "-1", "inf", "NaN", "5s", ""] {
            assert!(parse_pause(wrong).is_err_and(|why| why.contains("at most 60")), "{wrong}");
        }
        for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let [least, most] = overlay.silence();
            let said = |took| Paused { took, overlay }.to_string();
            assert!(said(least / 2).contains("no neighbour"));
            assert!(said((least + most) / 2).contains("may have"));
            assert!(said(most * 2).contains("have called"));
        }
    }
}
