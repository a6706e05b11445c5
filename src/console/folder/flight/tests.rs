//! Several commands under way, with a node that answers when it is told to.

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;

use super::*;
use crate::node::FailureKind;
use crate::runtime::ThreadsSeen;

/// The number of the span's command.
const SPAN: CommandId = 1;

/// A node that says nothing by itself, but for the beginning of a span and the end of what is cancelled.
///
/// *Protects*: what was asked, and who waits for an answer. *Held for*: one look.
/// *Never held while*: anything is waited for.
#[derive(Default)]
pub(in crate::console::folder) struct Rote(Mutex<Vec<(Command, Option<Sender<Notice>>)>>);

impl Rote {
    fn tell(&self, command: CommandId, notice: Notice) {
        let asked = self.0.lock();
        let (_, waiting) = &asked[command as usize - 1];
        waiting.as_ref().expect("it is under way").send(notice).expect("it is waited for");
    }

    fn moved(&self, command: CommandId, bytes: u64) {
        self.tell(command, Notice::Progress { command, progress: Progress::Moved { bytes, resumed: 0 } });
    }

    fn end(&self, command: CommandId, answer: Answer) {
        self.tell(command, Notice::Answer { command, answer });
        self.0.lock()[command as usize - 1].1 = None;
    }

    fn asked(&self) -> Vec<Command> {
        self.0.lock().iter().map(|(command, _)| command.clone()).collect()
    }
}

impl Backend for Rote {
    fn submit(&self, command: Command) -> Receiver<Notice> {
        let (sender, notices) = unbounded();
        let number = {
            let mut asked = self.0.lock();
            asked.push((command.clone(), Some(sender)));
            asked.len() as CommandId
        };
        match command {
            Command::Span => {
                self.tell(number, Notice::Progress { command: number, progress: Progress::Begun { bytes: 0 } });
            }
            Command::Cancel { command } => {
                if self.0.lock()[command as usize - 1].1.is_some() {
                    self.end(command, cancelled());
                }
                self.end(number, Answer::Interrupted { commands: 1 });
            }
            _ => {}
        }
        notices
    }

    fn threads(&self) -> ThreadsSeen {
        ThreadsSeen::default()
    }
}

fn cancelled() -> Answer {
    Answer::Failed(Failure::new(FailureKind::Cancelled, "cancelled"))
}

fn done() -> Answer {
    Answer::Cleared { blocks: 0, kept: 0 }
}

/// Each command moves ten bytes.
fn land(landed: &mut Vec<usize>) -> impl FnMut(usize, Answer) -> Result<u64, Failure> + '_ {
    |number, answer| match answer {
        Answer::Failed(failure) => Err(failure),
        _ => {
            landed.push(number);
            Ok(10)
        }
    }
}

#[test]
fn as_many_commands_are_under_way_as_the_window_has_and_what_is_told_is_their_sum() {
    let (rote, mut landed, mut told) = (Rote::default(), Vec::new(), Vec::new());
    {
        let span = CommandSpan::begin(&rote).unwrap();
        let mut show = |progress: &Progress| told.push(progress.clone());
        let mut flight = Flight::new(&span, &mut show);
        for number in 0..WINDOW {
            flight.begin(number, Command::List, &mut land(&mut landed)).unwrap();
        }
        let fourth = SPAN + 4;
        rote.end(fourth, done());
        flight.begin(WINDOW, Command::List, &mut land(&mut landed)).unwrap();
        assert_eq!(landed, [3], "one had to end before another could begin");
        for command in (SPAN + 1..=SPAN + WINDOW as u64 + 1).filter(|command| *command != fourth) {
            rote.moved(command, 4);
            rote.end(command, done());
        }
        flight.finish(&mut land(&mut landed)).unwrap();
        assert_eq!(flight.reached(), 10 * (WINDOW as u64 + 1));
    }
    landed.sort_unstable();
    assert_eq!(landed, (0..=WINDOW).collect::<Vec<_>>());
    assert_eq!(rote.asked().last(), Some(&Command::Cancel { command: SPAN }), "nothing stands for it any more");
}

#[test]
fn once_the_whole_is_ended_nothing_more_begins() {
    let (rote, mut landed) = (Rote::default(), Vec::new());
    let span = CommandSpan::begin(&rote).unwrap();
    let mut show = |_: &Progress| {};
    let mut flight = Flight::new(&span, &mut show);
    flight.begin(0, Command::List, &mut land(&mut landed)).unwrap();
    rote.end(SPAN, cancelled());
    let refused = flight.begin(1, Command::List, &mut land(&mut landed)).unwrap_err();
    assert_eq!((refused.kind, rote.asked().len()), (FailureKind::Cancelled, 2));
    rote.end(SPAN + 1, cancelled());
}

#[test]
fn after_a_failure_what_still_moves_is_cancelled() {
    let (rote, mut landed) = (Rote::default(), Vec::new());
    let span = CommandSpan::begin(&rote).unwrap();
    let mut show = |_: &Progress| {};
    let mut flight = Flight::new(&span, &mut show);
    for number in 0..2 {
        flight.begin(number, Command::List, &mut land(&mut landed)).unwrap();
    }
    rote.end(SPAN + 1, Answer::Failed(Failure::new(FailureKind::TooFewCopies, "full")));
    let failure = flight.finish(&mut land(&mut landed)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TooFewCopies);
    rote.moved(SPAN + 2, 5);
    drop(flight);
    assert_eq!(rote.asked().last(), Some(&Command::Cancel { command: SPAN + 2 }));
}
