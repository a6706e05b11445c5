//! What each thread is at: a table that the threads write themselves, and that any thread reads without a lock.
//!
//! A thread has a place in it while it runs, and alone writes there, so no two writers meet. A reader may see one
//! number of a place before another that was written with it; each is true by itself, and nothing else is read on its
//! word, so all accesses are `Relaxed` but those to [`GaugeSlot::taken`]. No thread has to be waited for, so what is
//! stuck can be shown too, and a signal's thread may print it at any moment.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Threads that have a place. Those beyond it run unseen.
const MAX_GAUGES: usize = 512;

/// Queues of one peer whose lengths are noted.
pub(crate) const QUEUES: usize = 8;

/// Bytes of a thread's name, as the system bounds it.
const NAME: usize = 16;

/// Long waits for locks that a thread keeps in mind until it is asked for them.
const MINDED: usize = 16;

static TABLE: [GaugeSlot; MAX_GAUGES] = [const { GaugeSlot::empty() }; MAX_GAUGES];

thread_local! {
    static MINE: Cell<Option<OwnGauge>> = const { Cell::new(None) };
    static WAITED: RefCell<Vec<Waited>> = const { RefCell::new(Vec::new()) };
}

/// A lock that this thread waited long for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Waited {
    pub(crate) rank: u8,
    pub(crate) span: Duration,
    /// The threads of its peer that held a lock of this rank meanwhile.
    pub(crate) held_by: Vec<String>,
}

/// Microseconds since some moment that is the same for all threads.
pub(crate) type Now = fn() -> u64;

#[derive(Clone, Copy)]
struct OwnGauge {
    slot: &'static GaugeSlot,
    now: Now,
}

/// A thread's place.
struct GaugeSlot {
    /// Whether some thread has it. What its last thread wrote is written before it is given up (`Release`, `Acquire`).
    taken: AtomicBool,
    peer: AtomicU64,
    name: [AtomicU64; NAME / 8],
    thread: AtomicU32,
    doing: AtomicU8,
    /// When it began with that.
    since: AtomicU64,
    born: AtomicU64,
    handled: AtomicU64,
    /// Microseconds at work, without what it is at now.
    busy: AtomicU64,
    /// A bit for the rank of each lock that it holds.
    holds: AtomicU16,
    /// The rank of the lock that it waits for; 0 if none.
    wants: AtomicU8,
    /// For each queue when this thread saw it last, in microseconds, and above that 16 bits of its length; 0 if never.
    queues: [AtomicU64; QUEUES],
}

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Activity {
    /// It waits, for what its role waits for.
    Waits,
    /// It works, at nothing that is told apart.
    Works,
    Datagrams,
    Event,
    Command,
    Tick,
    Reads,
    Keeps,
    Brings,
    Connects,
    Resolves,
    Writes,
    Hashes,
    Notes,
    Deletes,
    Sends,
    Asks,
    Pauses,
}

impl Activity {
    const ALL: [Self; 18] = [
        Self::Waits,
        Self::Works,
        Self::Datagrams,
        Self::Event,
        Self::Command,
        Self::Tick,
        Self::Reads,
        Self::Keeps,
        Self::Brings,
        Self::Connects,
        Self::Resolves,
        Self::Writes,
        Self::Hashes,
        Self::Notes,
        Self::Deletes,
        Self::Sends,
        Self::Asks,
        Self::Pauses,
    ];

    /// Whether a thread works that is at this.
    const fn is_work(self) -> bool {
        !matches!(self, Self::Waits | Self::Pauses)
    }

    /// The activity as a verb, for people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Works => "works",
            Self::Datagrams => "takes datagrams",
            Self::Event => "takes an outcome or a message",
            Self::Command => "takes a command",
            Self::Tick => "takes a tick",
            Self::Reads => "reads a file",
            Self::Keeps => "writes a block to the store",
            Self::Brings => "brings a block from a peer",
            Self::Connects => "connects to a peer",
            Self::Resolves => "looks up names of hosts",
            Self::Writes => "writes a file",
            Self::Hashes => "hashes a block",
            Self::Notes => "writes down what is known",
            Self::Deletes => "deletes a block",
            Self::Sends => "sends what was asked for",
            Self::Asks => "waits for the answer to a command",
            Self::Pauses => "stands still, as it was told to",
        }
    }
}

/// What a thread was seen to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SeenDoing {
    /// The peer that it belongs to.
    pub(crate) peer: u64,
    pub(crate) name: String,
    /// What the system calls it; 0 where that is not known.
    pub(crate) thread: u32,
    pub(crate) doing: Activity,
    /// For how long it has been doing that.
    pub(crate) span: Duration,
    /// For how long it has run.
    pub(crate) age: Duration,
    /// What it waited for came so often.
    pub(crate) handled: u64,
    /// How long it was not waiting.
    pub(crate) busy: Duration,
    /// The ranks of the locks that it holds.
    pub(crate) holds: Vec<u8>,
    /// The rank of the lock that it waits for.
    pub(crate) wants: Option<u8>,
    /// When it saw each queue last, and how long that was.
    pub(crate) queues: [Option<(u64, u16)>; QUEUES],
}

/// A thread's place; it is given up when this is dropped.
pub(crate) struct GaugePlace(Option<&'static GaugeSlot>);

/// Gives this thread a place, if one is free.
pub(crate) fn enter(peer: u64, name: &str, thread: u32, now: Now) -> GaugePlace {
    let free = TABLE.iter().find(|slot| !slot.taken.swap(true, Ordering::Acquire));
    let Some(slot) = free else { return GaugePlace(None) };
    slot.begin(peer, name, thread, now());
    MINE.set(Some(OwnGauge { slot, now }));
    GaugePlace(Some(slot))
}

impl Drop for GaugePlace {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            // At the end of a thread what is local to it may be gone.
            let _ = MINE.try_with(|mine| mine.set(None));
            slot.thread.store(0, Ordering::Relaxed);
            slot.taken.store(false, Ordering::Release);
        }
    }
}

fn mine() -> Option<OwnGauge> {
    MINE.try_with(Cell::get).ok().flatten()
}

/// Waits for what this thread's role waits for.
pub(crate) fn wait<R>(wait: impl FnOnce() -> R) -> R {
    at(Activity::Waits);
    let gave = wait();
    came(Activity::Works);
    gave
}

/// What this thread's role waits for came, and it does this about it. Returns when, in microseconds.
pub(crate) fn came(doing: Activity) -> Option<u64> {
    let OwnGauge { slot, now } = mine()?;
    slot.handled.store(slot.handled.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let now = now();
    slot.turn(doing, now);
    Some(now)
}

/// This thread does something else from here on. Returns how long it did what it did before.
pub(crate) fn at(doing: Activity) -> Duration {
    let Some(OwnGauge { slot, now }) = mine() else { return Duration::ZERO };
    Duration::from_micros(slot.turn(doing, now()))
}

/// When this thread began with what it is at, in microseconds: what was read then need not be read again.
pub(crate) fn since() -> Option<u64> {
    mine().map(|mine| mine.slot.since.load(Ordering::Relaxed))
}

/// This thread works from here on, on something that has a name.
pub(crate) fn name(doing: Activity) {
    if let Some(OwnGauge { slot, .. }) = mine() {
        slot.doing.store(doing as u8, Ordering::Relaxed);
    }
}

/// What this thread is at.
pub(crate) fn own() -> Activity {
    mine().map_or(Activity::Works, |mine| mine.slot.doing())
}

/// The number of the peer to which this thread belongs.
pub(crate) fn own_peer() -> Option<u64> {
    mine().map(|mine| mine.slot.peer.load(Ordering::Relaxed))
}

/// A queue of this thread's peer was so long when the thread put something in or took something out.
pub(crate) fn queue(number: usize, length: usize) {
    if let Some(OwnGauge { slot, .. }) = mine() {
        // The thread began with what it is at a moment ago: near enough, and no clock is read for it.
        let at = slot.since.load(Ordering::Relaxed) + 1;
        let length = length.min(usize::from(u16::MAX)) as u64;
        slot.queues[number].store(length << 48 | at & ((1 << 48) - 1), Ordering::Relaxed);
    }
}

/// This thread waits for a lock of this rank, or 0: no longer.
pub(crate) fn wants(rank: u8) {
    if let Some(OwnGauge { slot, .. }) = mine() {
        slot.wants.store(rank, Ordering::Relaxed);
    }
}

/// This thread holds a lock of this rank from here on, or no longer.
pub(crate) fn holds(rank: u8, does: bool) {
    if let Some(OwnGauge { slot, .. }) = mine() {
        let (held, bit) = (slot.holds.load(Ordering::Relaxed), 1 << rank);
        slot.holds.store(if does { held | bit } else { held & !bit }, Ordering::Relaxed);
    }
}

/// Keeps in mind that this thread waits long for a lock of this rank, while `wait` does: `so_far` has passed already.
pub(crate) fn wait_long<R>(rank: u8, so_far: Duration, wait: impl FnOnce() -> R) -> R {
    let Some(OwnGauge { slot, now }) = mine() else { return wait() };
    let (peer, since) = (slot.peer.load(Ordering::Relaxed), now());
    let others = TABLE.iter().filter(|slot| slot.taken.load(Ordering::Acquire));
    let holders = others.filter(|other| {
        other.peer.load(Ordering::Relaxed) == peer && other.holds.load(Ordering::Relaxed) >> rank & 1 == 1
    });
    let held_by = holders.map(GaugeSlot::name).collect();
    let gave = wait();
    let span = so_far + Duration::from_micros(now().saturating_sub(since));
    let _ = WAITED.try_with(|waited| {
        let mut waited = waited.borrow_mut();
        if waited.len() < MINDED {
            waited.push(Waited { rank, span, held_by });
        }
    });
    gave
}

/// The locks that this thread waited long for since it was asked last.
pub(crate) fn waited() -> Vec<Waited> {
    WAITED.try_with(RefCell::take).unwrap_or_default()
}

/// What all threads with a place are at, at the time `now`.
pub(crate) fn look(now: u64) -> Vec<SeenDoing> {
    TABLE.iter().filter(|slot| slot.taken.load(Ordering::Acquire)).map(|slot| slot.seen(now)).collect()
}

impl GaugeSlot {
    const fn empty() -> Self {
        Self {
            taken: AtomicBool::new(false),
            peer: AtomicU64::new(0),
            name: [const { AtomicU64::new(0) }; NAME / 8],
            thread: AtomicU32::new(0),
            doing: AtomicU8::new(0),
            since: AtomicU64::new(0),
            born: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            holds: AtomicU16::new(0),
            wants: AtomicU8::new(0),
            queues: [const { AtomicU64::new(0) }; QUEUES],
        }
    }

    fn begin(&self, peer: u64, name: &str, thread: u32, now: u64) {
        let mut bytes = [0; NAME];
        let length = name.len().min(NAME);
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        for (place, part) in self.name.iter().zip(bytes.as_chunks().0) {
            place.store(u64::from_le_bytes(*part), Ordering::Relaxed);
        }
        for (number, place) in [(peer, &self.peer), (now, &self.since), (now, &self.born)] {
            place.store(number, Ordering::Relaxed);
        }
        for place in self.queues.iter().chain([&self.handled, &self.busy]) {
            place.store(0, Ordering::Relaxed);
        }
        self.thread.store(thread, Ordering::Relaxed);
        self.doing.store(Activity::Works as u8, Ordering::Relaxed);
        self.holds.store(0, Ordering::Relaxed);
        self.wants.store(0, Ordering::Relaxed);
    }

    /// Something else is done from `now` on. Returns how long what was done before took.
    fn turn(&self, doing: Activity, now: u64) -> u64 {
        let span = now.saturating_sub(self.since.load(Ordering::Relaxed));
        self.since.store(now, Ordering::Relaxed);
        if self.doing().is_work() {
            self.busy.store(self.busy.load(Ordering::Relaxed) + span, Ordering::Relaxed);
        }
        self.doing.store(doing as u8, Ordering::Relaxed);
        span
    }

    fn name(&self) -> String {
        let name: Vec<u8> = self.name.iter().flat_map(|part| part.load(Ordering::Relaxed).to_le_bytes()).collect();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    fn doing(&self) -> Activity {
        Activity::ALL.get(usize::from(self.doing.load(Ordering::Relaxed))).copied().unwrap_or(Activity::Works)
    }

    fn seen(&self, now: u64) -> SeenDoing {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (doing, span) = (self.doing(), now.saturating_sub(read(&self.since)));
        let busy = read(&self.busy) + if doing.is_work() { span } else { 0 };
        let (holds, wants) = (self.holds.load(Ordering::Relaxed), self.wants.load(Ordering::Relaxed));
        SeenDoing {
            peer: read(&self.peer),
            name: self.name(),
            thread: self.thread.load(Ordering::Relaxed),
            doing,
            span: Duration::from_micros(span),
            age: Duration::from_micros(now.saturating_sub(read(&self.born))),
            handled: read(&self.handled),
            busy: Duration::from_micros(busy),
            holds: (0..16).filter(|rank| holds >> rank & 1 == 1).collect(),
            wants: (wants > 0).then_some(wants),
            queues: self.queues.each_ref().map(|queue| {
                let queue = read(queue);
                (queue > 0).then_some((queue & ((1 << 48) - 1), (queue >> 48) as u16))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_done_has_the_number_of_its_place_in_the_list() {
        assert!(Activity::ALL.iter().enumerate().all(|(number, doing)| *doing as usize == number));
    }

    /// Time stands still for a test, but for what it says.
    fn still() -> u64 {
        1_000
    }

    fn of(peer: u64, now: u64) -> Vec<SeenDoing> {
        look(now).into_iter().filter(|seen| seen.peer == peer).collect()
    }

    #[test]
    fn a_thread_shows_what_it_is_at_while_it_runs_and_nothing_afterwards() {
        const PEER: u64 = u64::MAX;
        let ((here, there), (back, forth)) = (channel::<()>(), channel());
        let worker = thread::spawn(move || {
            let _place = enter(PEER, "fifteen-letters", 7, still);
            queue(2, 70_000);
            wait(|| {
                back.send(()).expect("it waits");
                there.recv()
            })
            .expect("it is told");
            name(Activity::Hashes);
            holds(3, true);
            back.send(()).expect("it waits");
            there.recv().expect("it is told");
        });
        forth.recv().expect("it is told");
        let [waits] = &of(PEER, 3_000)[..] else { panic!("one thread") };
        assert_eq!((waits.name.as_str(), waits.thread, waits.doing), ("fifteen-letters", 7, Activity::Waits));
        assert_eq!((waits.span, waits.busy, waits.handled), (Duration::from_millis(2), Duration::ZERO, 0));
        assert_eq!((waits.queues[2], waits.queues[1]), (Some((1_001, u16::MAX)), None));
        here.send(()).expect("it waits");
        forth.recv().expect("it is told");
        let [works] = &of(PEER, 3_000)[..] else { panic!("one thread") };
        assert_eq!((works.doing, works.handled, works.busy), (Activity::Hashes, 1, Duration::from_millis(2)));
        assert_eq!((works.holds.as_slice(), works.wants), (&[3][..], None));
        here.send(()).expect("it waits");
        worker.join().expect("it ends");
        assert_eq!(of(PEER, 3_000), []);
    }
}
