//! Which jobs are known, and when ComfyUI has to be asked about how many. Pure: clock and queue are given.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::record::Record;

/// The most that is asked for at once.
const MOST: usize = 256;
/// Asked for beyond those that can have ended: some were queued past the guard.
const SLACK: usize = 2;
/// Known jobs that are remembered; more than can ever be in one answer.
const KEPT: usize = 4 * MOST;
/// While something is queued, asked at least so often: a job that ended while another was queued past the guard moves nothing.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What moves when a job is queued or ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queue {
    /// Prompts that wait or run, as ComfyUI says.
    pub(super) remaining: u64,
    /// Prompts that guests have queued through the guard, since it started.
    pub(super) queued: u64,
}

/// The jobs that were seen to have ended.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Milliseconds since 1970: what ended before is not counted here.
    since: u64,
    known: HashSet<(String, u64)>,
    order: VecDeque<(String, u64)>,
    seen: Queue,
    asked: Option<Instant>,
    /// To be asked for at once, whatever the queue says.
    pending: Option<usize>,
    /// No more than this: more was too long to be read.
    ceiling: usize,
}

impl Ledger {
    /// Counts what ends from now on.
    pub(super) fn new(now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self {
            since: u64::try_from(since).unwrap_or(u64::MAX),
            known: HashSet::new(),
            order: VecDeque::new(),
            seen: Queue::default(),
            asked: None,
            pending: None,
            ceiling: MOST,
        }
    }

    /// Whether nothing was queued by guests since the last look, and nothing was in the queue or is to be asked for.
    pub(super) fn is_quiet(&self, queued: u64) -> bool {
        self.seen == Queue { remaining: 0, queued } && self.pending.is_none()
    }

    /// How many of the newest entries have to be asked for now; none: nothing can be new.
    pub(super) fn due(&mut self, queue: Queue, now: Instant) -> Option<usize> {
        let moved = queue != self.seen;
        let overdue = queue.remaining > 0 && self.asked.is_some_and(|asked| now - asked >= LONGEST_PAUSE);
        if !moved && !overdue && self.pending.is_none() {
            return None;
        }
        let came = queue.queued.saturating_sub(self.seen.queued);
        let ended = self.seen.remaining.saturating_add(came).saturating_sub(queue.remaining);
        let can_be_new =
            if moved || overdue { usize::try_from(ended).unwrap_or(MOST).saturating_add(SLACK) } else { 0 };
        let count = can_be_new.max(self.pending.take().unwrap_or(0));
        self.seen = queue;
        self.asked = Some(now);
        Some(count.min(self.ceiling))
    }

    /// Enters the newest `asked` records; those that were not known. If all were new, there may be more.
    pub(super) fn enter(&mut self, records: Vec<Record>, asked: usize) -> Vec<Record> {
        let whole = records.len();
        self.ceiling = (self.ceiling * 2).min(MOST);
        let new: Vec<Record> = records.into_iter().filter(|record| self.is_new(record)).collect();
        if new.len() == whole && whole >= asked && asked < MOST {
            self.pending = Some(asked * 4);
        }
        new
    }

    /// The answer was over the limit: half as many next time. Whether one alone was, so that nothing can be known of it.
    pub(super) fn too_long(&mut self, asked: usize) -> bool {
        self.ceiling = (asked / 2).max(1);
        if asked > 1 {
            self.pending = Some(self.ceiling);
        }
        asked <= 1
    }

    /// No answer came: as many once more.
    pub(super) fn again(&mut self, asked: usize) {
        self.pending = Some(asked);
    }

    fn is_new(&mut self, record: &Record) -> bool {
        let mark = (record.id.clone(), record.ended);
        if record.ended < self.since || !self.known.insert(mark.clone()) {
            return false;
        }
        self.order.push_back(mark);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Job;

    const START: u64 = 1_000_000;

    fn ledger() -> Ledger {
        Ledger::new(SystemTime::UNIX_EPOCH + Duration::from_millis(START))
    }

    fn record(number: u64) -> Record {
        Record { id: number.to_string(), how: Job::Completed, began: None, ended: START + number }
    }

    fn records(numbers: std::ops::Range<u64>) -> Vec<Record> {
        numbers.map(record).collect()
    }

    fn queue(remaining: u64, queued: u64) -> Queue {
        Queue { remaining, queued }
    }

    #[test]
    fn it_is_asked_when_the_queue_moves_and_for_what_can_have_ended() {
        let (mut ledger, now) = (ledger(), Instant::now());
        let table = [
            (queue(0, 0), None, "nothing was ever queued"),
            (queue(1, 1), Some(SLACK), "one runs"),
            (queue(1, 1), None, "it runs still"),
            (queue(0, 1), Some(1 + SLACK), "it ended"),
            (queue(0, 1), None, "nothing more"),
            (queue(0, 6), Some(5 + SLACK), "five came and ended between two looks"),
            (queue(40, 6), Some(SLACK), "forty were queued past the guard"),
            (queue(30, 7), Some(11 + SLACK), "eleven ended while one came"),
            (queue(0, 2000), Some(MOST), "never more than the most"),
        ];
        for (queue, expected, why) in table {
            assert_eq!(ledger.due(queue, now), expected, "{why}");
        }
    }

    #[test]
    fn it_is_quiet_only_when_nothing_can_end() {
        let (mut ledger, now) = (ledger(), Instant::now());
        assert!(ledger.is_quiet(0) && !ledger.is_quiet(1));
        ledger.due(queue(1, 1), now);
        assert!(!ledger.is_quiet(1), "one runs");
        ledger.due(queue(0, 1), now);
        assert!(ledger.is_quiet(1));
        ledger.again(3);
        assert!(!ledger.is_quiet(1), "an answer is owed");
    }

    #[test]
    fn while_something_is_queued_it_is_asked_once_a_minute_all_the_same() {
        let (mut ledger, now) = (ledger(), Instant::now());
        assert!(ledger.due(queue(1, 1), now).is_some());
        assert_eq!(ledger.due(queue(1, 1), now + Duration::from_secs(59)), None);
        assert_eq!(ledger.due(queue(1, 1), now + Duration::from_secs(60)), Some(SLACK));
        assert!(ledger.due(queue(0, 1), now + Duration::from_secs(61)).is_some());
        assert_eq!(ledger.due(queue(0, 1), now + Duration::from_secs(200)), None);
    }

    #[test]
    fn each_job_is_counted_once_and_none_of_before_the_start() {
        let mut ledger = ledger();
        let old = Record { ended: START - 1, ..record(9) };
        assert_eq!(ledger.enter(vec![old, record(1), record(2)], 5), records(1..3));
        assert_eq!(ledger.enter(records(1..4), 5), records(3..4));
        let same_id_again = Record { ended: START + 77, ..record(1) };
        assert_eq!(ledger.enter(vec![record(1), same_id_again.clone()], 5), vec![same_id_again]);
    }

    #[test]
    fn where_all_is_new_there_may_be_more() {
        let (mut ledger, now) = (ledger(), Instant::now());
        let count = ledger.due(queue(0, 1), now).unwrap_or(0);
        assert_eq!(ledger.enter(records(97..100), count).len(), 3);
        assert_eq!(ledger.due(queue(0, 1), now), Some(4 * count));
        assert_eq!(ledger.enter(records(90..100), 4 * count).len(), 7);
        assert_eq!(ledger.due(queue(0, 1), now), None, "ComfyUI has no more");
    }

    #[test]
    fn too_long_an_answer_is_asked_for_in_smaller_parts() {
        let (mut ledger, now) = (ledger(), Instant::now());
        assert_eq!(ledger.due(queue(0, 6), now), Some(8));
        let mut asked = Vec::new();
        while let Some(count) = ledger.due(queue(0, 6), now).or(asked.is_empty().then_some(8)) {
            asked.push(count);
            if ledger.too_long(count) {
                break;
            }
        }
        assert_eq!(asked, [8, 4, 2, 1]);
        assert_eq!(ledger.due(queue(0, 6), now), None, "one alone is too long: nothing can be known of it");
        assert_eq!(ledger.due(queue(0, 7), now), Some(1), "and the next is asked for by itself");
        ledger.enter(vec![record(1)], 2);
        assert_eq!(ledger.due(queue(0, 9), now), Some(2), "what can be read again is read");
    }

    #[test]
    fn an_answer_that_did_not_come_is_asked_for_again() {
        let (mut ledger, now) = (ledger(), Instant::now());
        let count = ledger.due(queue(0, 1), now).unwrap_or(0);
        ledger.again(count);
        assert_eq!(ledger.due(queue(0, 1), now), Some(count));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut ledger = ledger();
        for start in 0..100 {
            ledger.enter(records(start * 100..start * 100 + 100), 100);
        }
        assert!(ledger.known.len() == KEPT && ledger.order.len() == KEPT);
        assert_eq!(ledger.enter(records(9_900..10_000), 100), vec![]);
    }
}
