//! Windows by stream time: the highest timestamp that was added, message by message.
//!
//! Nothing here depends on how messages were batched, and no clock is asked. A window is over when stream time has
//! passed its end by the grace; from then on nothing is added to it.

mod index;
mod kept;

use std::collections::BTreeMap;
use std::ops::Range;

use index::Index;
pub use kept::Aggregate;
use kept::Window;

use crate::{Keyed, Rejection};

/// Milliseconds since the Unix epoch that a message may have: the years 100 to 9898. A window of at most a hundred
/// years around it lies in what RFC 3339 can write.
const TIMES: Range<i64> = -59_011_459_200_000..250_215_091_200_000;

/// Milliseconds that a window, its grace and what it may be ahead can have: a hundred years.
const LONGEST: i64 = 36_500 * 86_400_000;

/// How time is cut into windows; all in milliseconds. A window begins with its start and ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// One after the other, aligned to the Unix epoch.
    Tumbling { size: i64 },
    /// Of one size, each `slide` after the one before and so overlapping, aligned to the Unix epoch.
    Hopping { size: i64, slide: i64 },
    /// For each key from the first message until there was none for `gap`.
    Session { gap: i64 },
}

/// Aggregates by window and key.
///
/// The keys of what is kept begin with `n`, `t` or `w`.
///
/// For each message [`add`](Self::add), then [`close`](Self::close); in `advance` [`advance`](Self::advance), then
/// [`close`](Self::close).
#[derive(Debug)]
pub struct Windows<A> {
    frame: Frame,
    grace: i64,
    ahead: Option<i64>,
    /// Stream time; none before the first message.
    time: Option<i64>,
    late: u64,
    /// Whether stream time or the count of late messages changed.
    moved: bool,
    /// By start and key.
    table: Keyed<Window<A>>,
    /// What [`Open::first`] was asked for, by start and name.
    names: Keyed<()>,
    index: Index,
    /// Start and slot of the window that was added to last, where it is still open: most often the next is the same.
    recent: Option<(i64, u32)>,
    /// Keys of the table and of names are put together in here.
    key: Vec<u8>,
    name: Vec<u8>,
}

/// A window that a message is added to.
#[derive(Debug)]
pub struct Open<'a, A> {
    pub start: i64,
    pub end: i64,
    pub aggregate: &'a mut A,
    /// None of a session.
    names: Option<Names<'a>>,
}

/// The names of all windows, their slots by start, and room for a key.
#[derive(Debug)]
struct Names<'a> {
    table: &'a mut Keyed<()>,
    slots: &'a mut BTreeMap<i64, Vec<u32>>,
    key: &'a mut Vec<u8>,
}

/// A window that is over.
#[derive(Debug)]
pub struct Closed<'a, A> {
    pub key: &'a [u8],
    pub start: i64,
    pub end: i64,
    pub aggregate: &'a A,
}

impl<A: Aggregate> Windows<A> {
    /// `grace` is how long after its end a window still takes messages. A message more than `ahead` ahead of stream time
    /// is refused instead of moving it on. All in milliseconds; the error says which is none.
    pub fn new(frame: Frame, grace: i64, ahead: Option<i64>) -> Result<Self, String> {
        let (size, slide) = match frame {
            Frame::Tumbling { size } => (size, size),
            Frame::Hopping { size, slide } => (size, slide),
            Frame::Session { gap } => (gap, gap),
        };
        if !(1..=LONGEST).contains(&size) {
            return Err("a window has 1 ms to 100 years".to_owned());
        }
        if !(1..=size).contains(&slide) {
            return Err("windows slide by 1 ms or more, and by no more than their size".to_owned());
        }
        if [grace, ahead.unwrap_or(0)].iter().any(|time| !(0..=LONGEST).contains(time)) {
            return Err("a grace, or what a message may be ahead, has 0 ms to 100 years".to_owned());
        }
        Ok(Self {
            frame,
            grace,
            ahead,
            time: None,
            late: 0,
            moved: false,
            table: Keyed::new(),
            names: Keyed::new(),
            index: Index::default(),
            recent: None,
            key: Vec::new(),
            name: Vec::new(),
        })
    }

    /// How many messages were too late, ever.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Changes what the open windows have collected, where `each` says that it did: for what was collected under other
    /// settings.
    pub fn convert(&mut self, mut each: impl FnMut(&mut A) -> bool) {
        let slots: Vec<u32> = self.table.slots().collect();
        for slot in slots {
            if each(&mut self.table.at_quietly(slot).aggregate) {
                self.table.at_mut(slot);
            }
        }
    }

    /// Moves stream time on to `timestamp` and puts a message into the windows of `key` that it belongs to, the
    /// earliest first.
    ///
    /// Refused, with nothing changed but the count of late messages: one whose windows are all over, and one that is too
    /// far ahead. What else may be wrong with a message is to be found out before.
    #[inline]
    pub fn add(
        &mut self,
        key: &[u8],
        timestamp: i64,
        mut update: impl FnMut(&mut Open<'_, A>),
    ) -> Result<(), Rejection> {
        self.index.build(self.frame, &self.table, &mut self.names);
        let time = self.time_with(timestamp)?;
        let (size, slide) = match self.frame {
            Frame::Tumbling { size } => (size, size),
            Frame::Hopping { size, slide } => (size, slide),
            Frame::Session { gap } => {
                let slot = self.session(key, timestamp, gap, time);
                let slot = slot.ok_or_else(|| self.refuse_late(timestamp))?;
                self.move_to(time);
                self.update(slot, &mut update);
                return Ok(());
            }
        };
        let last = timestamp - timestamp.rem_euclid(slide);
        if last + size + self.grace <= time {
            return Err(self.refuse_late(timestamp));
        }
        self.move_to(time);
        let earlier = (last + size - timestamp - 1) / slide;
        for number in (0..=earlier).rev() {
            let start = last - number * slide;
            if start + size + self.grace > time {
                let slot = self.hold(start, start + size, key);
                self.update(slot, &mut update);
            }
        }
        Ok(())
    }

    /// Moves stream time on though no message came; `i64::MAX` ends every window that is open.
    pub fn advance(&mut self, watermark: i64) {
        self.index.build(self.frame, &self.table, &mut self.names);
        // Before the first message there is nothing that waits.
        let Some(time) = self.time else { return };
        let reached = match watermark {
            // No further than that: what comes after the end of a file that has grown is not late for it.
            i64::MAX => self.index.latest().map_or(time, |end| end + self.grace),
            watermark => watermark.min(TIMES.end),
        };
        self.move_to(time.max(reached));
    }

    /// Every window that is open, as if it were over: by their end, their start, and the bytes of their key.
    pub fn look(&self, mut each: impl FnMut(Closed<'_, A>)) {
        let mut open: Vec<_> = self.table.slots().map(|slot| (self.table.key(slot), self.table.at(slot))).collect();
        open.sort_unstable_by_key(|(key, window)| (window.end, kept::start_of(key), kept::key_of(key)));
        for (key, Window { end, aggregate, .. }) in open {
            each(Closed { key: kept::key_of(key), start: kept::start_of(key), end: *end, aggregate });
        }
    }

    /// How many windows are open.
    pub fn open(&self) -> usize {
        self.table.len()
    }

    /// Takes out the windows that are over: by their end, their start, and the bytes of their key.
    #[inline]
    pub fn close(&mut self, mut each: impl FnMut(Closed<'_, A>)) {
        self.index.build(self.frame, &self.table, &mut self.names);
        let Some(time) = self.time else { return };
        while self.index.earliest().is_some_and(|end| end + self.grace <= time) {
            let windows = self.index.pop(&self.table);
            for &(end, start, slot) in &windows {
                let key = kept::key_of(self.table.key(slot));
                each(Closed { key, start, end, aggregate: &self.table.at(slot).aggregate });
                self.index.forget_session(key, slot);
                self.drop_window(slot);
            }
            // All windows of this start are over with it.
            let names = windows.first().and_then(|(_, start, _)| self.index.names.remove(start));
            names.into_iter().flatten().for_each(|name| self.names.take(name));
        }
    }

    /// Stream time with a message of this timestamp.
    #[inline]
    fn time_with(&self, timestamp: i64) -> Result<i64, Rejection> {
        if !TIMES.contains(&timestamp) {
            return Err(format!("timestamp {timestamp} is not in the years 100 to 9898").into());
        }
        let Some(time) = self.time else { return Ok(timestamp) };
        match self.ahead {
            Some(ahead) if timestamp - time > ahead => Err(format!(
                "ahead: timestamp {timestamp} is {} ms ahead of stream time, and may be {ahead}",
                timestamp - time
            )
            .into()),
            _ => Ok(time.max(timestamp)),
        }
    }

    #[inline]
    fn move_to(&mut self, time: i64) {
        if self.time != Some(time) {
            self.time = Some(time);
            self.moved = true;
        }
    }

    #[cold]
    fn refuse_late(&mut self, timestamp: i64) -> Rejection {
        self.late += 1;
        self.moved = true;
        let time = self.time.unwrap_or(timestamp);
        format!("late: at stream time {time} each window of timestamp {timestamp} is over").into()
    }

    /// The slot of a window, a new one if need be.
    #[inline]
    fn hold(&mut self, start: i64, end: i64, key: &[u8]) -> u32 {
        if let Some((recent, slot)) = self.recent
            && recent == start
            && kept::key_of(self.table.key(slot)) == key
        {
            return slot;
        }
        kept::window_key(start, key, &mut self.key);
        let slot = self.table.find(&self.key).unwrap_or_else(|| {
            let slot = self.table.put(&self.key, Window::new(end));
            self.index.insert(end, start, slot);
            slot
        });
        self.recent = Some((start, slot));
        slot
    }

    #[inline]
    fn update(&mut self, slot: u32, update: &mut impl FnMut(&mut Open<'_, A>)) {
        let start = kept::start_of(self.table.key(slot));
        let Window { end, aggregate } = self.table.at_mut(slot);
        let names = Names { table: &mut self.names, slots: &mut self.index.names, key: &mut self.name };
        let names = (!matches!(self.frame, Frame::Session { .. })).then_some(names);
        update(&mut Open { start, end: *end, aggregate, names });
    }

    /// The session that takes a message: its own, or the one into which it joins others. `None` if it is too late.
    fn session(&mut self, key: &[u8], timestamp: i64, gap: i64, time: i64) -> Option<u32> {
        let (mut start, mut end) = (timestamp, timestamp + gap);
        let span = |slot: u32| (kept::start_of(self.table.key(slot)), self.table.at(slot).end);
        let touches = |slot: &u32| {
            let (first, last) = span(*slot);
            first < end && timestamp < last && last + self.grace > time
        };
        let mut joined: Vec<u32> = self.index.sessions(key).filter(touches).collect();
        if joined.is_empty() && end + self.grace <= time {
            return None;
        }
        joined.sort_unstable_by_key(|slot| span(*slot));
        for slot in &joined {
            start = start.min(span(*slot).0);
            end = end.max(span(*slot).1);
        }
        if let [slot] = joined[..]
            && span(slot).0 == start
        {
            self.index.remove(span(slot).1, start, slot);
            self.index.insert(end, start, slot);
            self.table.at_mut(slot).end = end;
            return Some(slot);
        }
        let mut whole = Window::<A>::new(end);
        for slot in joined {
            let (first, last) = (kept::start_of(self.table.key(slot)), self.table.at(slot).end);
            self.index.remove(last, first, slot);
            self.index.forget_session(key, slot);
            let window = self.drop_window(slot);
            whole.aggregate.merge(window.aggregate);
        }
        kept::window_key(start, key, &mut self.key);
        let slot = self.table.put(&self.key, whole);
        self.index.insert(end, start, slot);
        self.index.remember_session(key, slot);
        Some(slot)
    }

    /// Takes a window out of the table.
    fn drop_window(&mut self, slot: u32) -> Window<A> {
        self.recent = None;
        self.table.take(slot)
    }
}

impl<A> Open<'_, A> {
    /// Whether this is the first time that the windows of this start, whatever their key, are asked for `name`, which
    /// they remember. Each time of a session, which remembers nothing: the next message could join two of them.
    pub fn first(&mut self, name: &[u8]) -> bool {
        let Some(Names { table, slots, key }) = &mut self.names else { return true };
        kept::name_key(self.start, name, key);
        if table.find(key).is_some() {
            return false;
        }
        slots.entry(self.start).or_default().push(table.put(key, ()));
        true
    }
}
