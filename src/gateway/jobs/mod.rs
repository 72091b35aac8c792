//! How ComfyUI's jobs ended, and how long they ran. ComfyUI tells that only to the socket of who queued, so it is asked for its record: when
//! the queue has moved, for as many as can have ended, and never for more bytes than it writes by the way.

mod ledger;
mod record;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::probe::{self, Unanswered, ask};
use super::shared::Shared;
use crate::telemetry::metrics::Job;
use crate::wire::message::Answering;
use ledger::{Ledger, Queue};
use record::Record;

const PACE: Duration = Duration::from_secs(1);
/// `/history` carries whole workflows, ours and everybody's.
const LONGEST: usize = 8 << 20;
/// What may be read of it in a second, on average.
const BYTES_A_SECOND: f64 = 512.0 * 1024.0;
/// ComfyUI answers in its one loop: of its time so much is left to others for each second that an answer took.
const REST: f64 = 4.0;
/// Entries of `/api/jobs` have some hundred bytes; asked for by the age of their queueing, so by more than have ended.
const FEWEST_LISTED: usize = 64;

/// Where ComfyUI keeps its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Not found out yet.
    Unknown,
    /// `GET /api/jobs`, of newer versions: without workflows.
    Jobs,
    /// `GET /history`, of all versions.
    History,
}

/// Watches until the gateway ends.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ledger = Ledger::new(SystemTime::now());
    let mut source = Source::Unknown;
    let mut told = false;
    loop {
        sleep(PACE).await;
        let (answering, remaining) = {
            let health = shared.health.borrow();
            (health.answering, health.remaining)
        };
        if answering != Answering::Yes {
            // Another version may come up.
            source = Source::Unknown;
            continue;
        }
        // Counted before the queue is asked: so what was queued by then is in its answer, unless it has ended.
        let queued = shared.metrics.queued.get();
        if remaining == 0 && ledger.is_quiet(queued) {
            continue;
        }
        let Ok(remaining) = probe::remaining(&shared).await else { continue };
        let queue = Queue { remaining, queued };
        let Some(count) = ledger.due(queue, Instant::now()) else { continue };
        let began = Instant::now();
        let Answer { bytes, asked, records } = read(&shared, &mut source, count).await;
        match records {
            Ok(records) => {
                for job in ledger.enter(records, asked) {
                    note(&shared, job.how, job.seconds());
                }
            }
            Err(Unreadable::TooLong) => {
                if ledger.too_long(count) {
                    note(&shared, Job::Unknown, None);
                }
                if !told {
                    tracing::warn!(
                        "ComfyUI's record of its jobs is over {LONGEST} bytes for a few: some are counted as of unknown result"
                    );
                    told = true;
                }
            }
            Err(Unreadable::Silent) => ledger.again(count),
        }
        sleep(rest(bytes, began.elapsed())).await;
    }
}

fn note(shared: &Shared, how: Job, seconds: Option<f64>) {
    shared.metrics.jobs.count(how);
    if let Some(seconds) = seconds {
        shared.metrics.job_seconds.observe(seconds);
    }
}

/// How long nothing more is asked after an answer of so many bytes that took so long.
fn rest(bytes: usize, took: Duration) -> Duration {
    let seconds = (bytes as f64 / BYTES_A_SECOND).max(took.as_secs_f64() * REST);
    Duration::from_secs_f64(seconds.min(30.0))
}

/// Why the record was not read.
enum Unreadable {
    TooLong,
    Silent,
}

/// What came of a question.
struct Answer {
    /// What it cost.
    bytes: usize,
    /// For how many entries.
    asked: usize,
    records: Result<Vec<Record>, Unreadable>,
}

/// The newest `count` entries.
async fn read(shared: &Shared, source: &mut Source, count: usize) -> Answer {
    let answer = |bytes, asked, records| Answer { bytes, asked, records };
    if *source != Source::History {
        let listed = count.max(FEWEST_LISTED);
        let path = format!("/api/jobs?status=completed,failed,cancelled&limit={listed}");
        match ask(shared, &path, LONGEST).await {
            Ok(body) => match record::of_jobs(&body) {
                Some(records) => {
                    *source = Source::Jobs;
                    return answer(body.len(), listed, Ok(records));
                }
                None => *source = Source::History,
            },
            Err(Unanswered::TooLong) => *source = Source::History,
            Err(_) => return answer(0, listed, Err(Unreadable::Silent)),
        }
    }
    match ask(shared, &format!("/history?max_items={count}"), LONGEST).await {
        // What cannot be understood is no record: nothing is gained by asking again.
        Ok(body) => answer(body.len(), count, Ok(record::of_history(&body).unwrap_or_default())),
        Err(Unanswered::TooLong) => answer(LONGEST, count, Err(Unreadable::TooLong)),
        Err(_) => answer(0, count, Err(Unreadable::Silent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_paid_for_in_time() {
        assert_eq!(rest(512 * 1024, Duration::ZERO), Duration::from_secs(1));
        assert_eq!(rest(LONGEST, Duration::from_millis(100)), Duration::from_secs(16));
        assert_eq!(rest(1000, Duration::from_millis(500)), Duration::from_secs(2));
        assert_eq!(rest(0, Duration::from_secs(100)), Duration::from_secs(30));
    }
}
