//! A storm to step through: it is run to its end, and anew from the beginning where something else is to come next.

use super::source::{StepRefusal, StepSource};
use super::tape::Tape;
use crate::sim::choices::{PendingEvent, WaitingEvent};
use crate::sim::moments::history::Collection;
use crate::sim::moments::reader::RecordError;
use crate::sim::storm::StormPlan;

/// A storm that was run, with what was chosen in it.
pub(super) struct Rehearsal {
    plan: StormPlan,
    tape: Tape,
}

impl Rehearsal {
    /// Runs a storm.
    ///
    /// # Errors
    /// Its own record cannot be read: a fault of the program.
    pub(super) fn of(plan: StormPlan) -> Result<Self, RecordError> {
        let tape = run(&plan)?;
        Ok(Self { plan, tape })
    }

    /// The storm as it is up to there, and in its own order from there on.
    fn until(&self, done: usize) -> StormPlan {
        let mut plan = self.plan.clone();
        plan.choices.forget_from(done as u64);
        plan
    }
}

fn run(plan: &StormPlan) -> Result<Tape, RecordError> {
    let (kept, ended) = plan.keep();
    let mut collection = Collection::default();
    collection.add("storm", kept.record.as_bytes())?;
    let end = match ended {
        Ok(report) => report.to_string(),
        Err(violation) => format!("FAILED {violation}\nto run it again: {plan}"),
    };
    let wrongs = kept.wrongs.into_iter().map(|wrong| (wrong.done, format!("peer {}: {}", wrong.slot, wrong.what)));
    let mut notes: Vec<(usize, String)> = kept.notes.into_iter().chain(wrongs).collect();
    notes.sort_by_key(|(done, _)| *done);
    Ok(Tape::new(collection.in_order(), notes, end))
}

impl StepSource for Rehearsal {
    fn tape(&self) -> &Tape {
        &self.tape
    }

    fn threads(&self) -> &'static str {
        "the simulator has no threads: it gives each peer its events itself, one after the other, and so can give them again"
    }

    fn waiting(&mut self, done: usize) -> Result<Vec<String>, StepRefusal> {
        if done == self.tape.len() {
            return Err("this is the end: nothing waits any more".to_owned());
        }
        let waiting = self.until(done).waiting(done as u64);
        let waiting = waiting.ok_or("what comes next belongs to the moment before: nothing can come between")?;
        if waiting.is_empty() {
            return Err("nothing waits but the clock".to_owned());
        }
        let tell = |WaitingEvent { at, slot, what, .. }: WaitingEvent| {
            let what = match what {
                PendingEvent::Event(event) => self.tape.history.tell_event(&event),
                PendingEvent::Job(job) => job,
            };
            format!("{:>12}  peer {slot:<3} {what}", at.to_string())
        };
        Ok(waiting.into_iter().map(tell).collect())
    }

    fn choose(&mut self, done: usize, nth: usize) -> Result<(), StepRefusal> {
        let waiting = self.waiting(done)?.len();
        if nth > waiting {
            return Err(format!("there is no {nth}: {waiting} can be chosen from, `choose` lists them"));
        }
        let mut plan = self.until(done);
        plan.choices.choose(done as u64, nth);
        self.tape = run(&plan).map_err(|error| error.to_string())?;
        self.plan = plan;
        Ok(())
    }

    fn chosen(&self) -> Option<String> {
        (!self.plan.choices.is_empty()).then(|| self.plan.to_string())
    }
}
