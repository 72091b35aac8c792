//! What ComfyUI says of a job that has ended: read from `/history` and from `/api/jobs`, and nothing else of either. Pure.

use std::collections::HashMap;

use serde::Deserialize;

use crate::telemetry::metrics::Job;

/// A job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The prompt's id.
    pub(super) id: String,
    /// How.
    pub(super) how: Job,
    /// When it began, in milliseconds since 1970.
    pub(super) began: Option<u64>,
    /// When it ended, likewise.
    pub(super) ended: u64,
}

impl Record {
    /// How long it ran.
    pub(super) fn seconds(&self) -> Option<f64> {
        let milliseconds = self.ended.checked_sub(self.began?)?;
        Some(milliseconds as f64 / 1000.0)
    }
}

#[derive(Deserialize)]
struct Entry {
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    status_str: String,
    #[serde(default)]
    messages: Vec<(String, Message)>,
}

#[derive(Deserialize)]
struct Message {
    timestamp: Option<u64>,
}

#[derive(Deserialize)]
struct Listed {
    jobs: Vec<ListedJob>,
}

#[derive(Deserialize)]
struct ListedJob {
    id: String,
    status: String,
    execution_start_time: Option<u64>,
    execution_end_time: Option<u64>,
}

/// From `/history`; none if it is something else. What has no time of its end (versions before August 2024) is left out: nobody could say
/// whether it is new.
pub(super) fn of_history(body: &[u8]) -> Option<Vec<Record>> {
    let entries: HashMap<String, Entry> = serde_json::from_slice(body).ok()?;
    Some(entries.into_iter().filter_map(|(id, entry)| of_entry(id, &entry.status?)).collect())
}

fn of_entry(id: String, status: &Status) -> Option<Record> {
    let at = |kinds: &[&str]| {
        let message = status.messages.iter().rev().find(|(kind, _)| kinds.contains(&kind.as_str()))?;
        message.1.timestamp
    };
    let interrupted = at(&["execution_interrupted"]);
    let how = match status.status_str.as_str() {
        "success" => Job::Completed,
        "error" if interrupted.is_some() => Job::Cancelled,
        "error" => Job::Failed,
        _ => Job::Unknown,
    };
    let ended = at(&["execution_success", "execution_error"]).or(interrupted)?;
    Some(Record { id, how, began: at(&["execution_start"]), ended })
}

/// From `/api/jobs`; none if this ComfyUI has no such place.
pub(super) fn of_jobs(body: &[u8]) -> Option<Vec<Record>> {
    let listed: Listed = serde_json::from_slice(body).ok()?;
    let record = |job: ListedJob| {
        let how = match job.status.as_str() {
            "completed" => Job::Completed,
            "failed" => Job::Failed,
            "cancelled" => Job::Cancelled,
            _ => Job::Unknown,
        };
        Some(Record { id: job.id, how, began: job.execution_start_time, ended: job.execution_end_time? })
    };
    Some(listed.jobs.into_iter().filter_map(record).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(id: &str, how: Job, began: Option<u64>, ended: u64) -> Record {
        Record { id: id.to_owned(), how, began, ended }
    }

    #[test]
    fn history_says_how_and_how_long() {
        let body = br#"{
            "a": {"prompt": [0, "a", {"1": {"inputs": {"x": [1, {}]}}}, {"secret": 1}, ["1"]], "outputs": {"2": {"images": []}}, "meta": {},
                  "status": {"status_str": "success", "completed": true, "messages": [
                    ["execution_start", {"prompt_id": "a", "timestamp": 1000}], ["execution_cached", {"nodes": [], "timestamp": 1001}],
                    ["execution_success", {"prompt_id": "a", "timestamp": 3500}]]}},
            "b": {"status": {"status_str": "error", "completed": false, "messages": [
                    ["execution_start", {"timestamp": 10}], ["execution_error", {"timestamp": 20, "traceback": ["x"], "current_inputs": {}}]]}},
            "c": {"status": {"status_str": "error", "messages": [["execution_start", {"timestamp": 10}], ["execution_interrupted", {"timestamp": 30}]]}},
            "d": {"status": {"status_str": "success", "messages": [["execution_start", {}], ["execution_success", {}]]}},
            "e": {"status": null},
            "f": {}
        }"#;
        let mut read = of_history(body).unwrap();
        read.sort_by(|a, b| a.id.cmp(&b.id));
        let expected = [
            record("a", Job::Completed, Some(1000), 3500),
            record("b", Job::Failed, Some(10), 20),
            record("c", Job::Cancelled, Some(10), 30),
        ];
        assert_eq!(read, expected);
        assert_eq!(read.first().unwrap().seconds(), Some(2.5));
    }

    #[test]
    fn the_list_of_jobs_says_the_same() {
        let body = br#"{"jobs": [
            {"id": "a", "status": "completed", "priority": 0, "create_time": 1, "execution_start_time": 1000, "execution_end_time": 1250, "outputs_count": 1},
            {"id": "b", "status": "failed", "execution_end_time": 9, "execution_error": {"node_id": "1", "traceback": []}},
            {"id": "c", "status": "cancelled", "execution_start_time": 5, "execution_end_time": 4},
            {"id": "d", "status": "completed"}], "pagination": {"offset": 0, "limit": 64, "total": 4, "has_more": false}}"#;
        let expected = [
            record("a", Job::Completed, Some(1000), 1250),
            record("b", Job::Failed, None, 9),
            record("c", Job::Cancelled, Some(5), 4),
        ];
        let read = of_jobs(body).unwrap();
        assert_eq!(read, expected);
        let seconds: Vec<_> = read.iter().map(Record::seconds).collect();
        assert_eq!(seconds, [Some(0.25), None, None], "a clock that was set back makes no time");
    }

    #[test]
    fn what_is_something_else_is_no_record() {
        for body in [&b"404: Not Found"[..], b"", b"[]", b"{\"error\": \"Invalid status value(s)\"}", b"null"] {
            assert_eq!(of_jobs(body), None);
        }
        for body in [&b"404: Not Found"[..], b"", b"[1]", b"{\"a\": 1}"] {
            assert_eq!(of_history(body), None);
        }
        assert_eq!(of_history(b"{}"), Some(vec![]));
    }
}
