//! When ComfyUI gives no answer: failure to answer in one total function.

use http::StatusCode;

use crate::gateway::answer::Own;
use crate::wire::condition::Name;

/// How an exchange with ComfyUI failed, before the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing listens.
    Refused,
    /// The connection could not be made in time, or not at all.
    NoConnection,
    /// The connection ended before an answer.
    Ended,
    /// What came is not HTTP.
    NotHttp,
    /// The guest's own body broke off.
    GuestGone,
}

impl Failure {
    /// hyper's error while a request was sent or an answer awaited.
    pub(crate) fn of_exchange(error: &hyper::Error) -> Self {
        tracing::debug!(%error, "exchange with ComfyUI failed");
        if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
            Self::NotHttp
        } else if error.is_user() {
            Self::GuestGone
        } else {
            Self::Ended
        }
    }

    /// What the guest is told. `closed`: by what the service is closed, as far as is known.
    pub(crate) fn answer(self, closed: Option<Name>) -> Own {
        let own = |code: StatusCode, error, message: &str, retry_after| Own {
            status: code,
            error,
            message: message.to_owned(),
            retry_after,
        };
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match (self, closed) {
            (Self::Refused, Some(Name::Starting)) => own(
                unavailable,
                "starting",
                "ComfyUI is starting. This takes from ten seconds to some minutes.",
                Some(2),
            ),
            (Self::Refused, Some(Name::Failed)) => own(
                unavailable,
                "failed",
                "ComfyUI ended too often and was given up. The log of the guard says why (journalctl -u comfy-guard).",
                Some(30),
            ),
            (Self::Refused, Some(Name::Unreachable)) => {
                own(unavailable, "unreachable", "The ComfyUI that is guarded does not run.", Some(10))
            }
            (Self::Refused, Some(Name::Stopping)) => own(unavailable, "stopping", "The guard is ending.", Some(10)),
            (Self::Refused, _) => own(unavailable, "restarting", "ComfyUI is restarting.", Some(2)),
            (Self::NoConnection, _) => {
                own(StatusCode::GATEWAY_TIMEOUT, "unresponsive", "ComfyUI takes no connections at present.", Some(5))
            }
            (Self::Ended, _) => own(
                StatusCode::BAD_GATEWAY,
                "no_answer",
                "ComfyUI ended the connection before it answered. If it was restarted, its jobs are lost.",
                Some(2),
            ),
            (Self::NotHttp, _) => own(StatusCode::BAD_GATEWAY, "bad_answer", "ComfyUI's answer was not HTTP.", None),
            (Self::GuestGone, _) => {
                own(StatusCode::BAD_REQUEST, "incomplete_body", "The request's body broke off.", None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::condition::TABLE;

    #[test]
    fn every_failure_has_an_answer_that_is_no_success() {
        for failure in [Failure::Refused, Failure::NoConnection, Failure::Ended, Failure::NotHttp, Failure::GuestGone] {
            for closed in TABLE.iter().map(|row| Some(row.0)).chain([None]) {
                let answer = failure.answer(closed);
                assert!(answer.status.is_client_error() || answer.status.is_server_error());
                assert!(!answer.message.is_empty());
            }
        }
    }

    #[test]
    fn a_comfyui_that_is_not_there_yet_is_worth_another_try() {
        assert_eq!(Failure::Refused.answer(Some(Name::Starting)).status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(Failure::Refused.answer(Some(Name::Restarting)).retry_after.is_some());
        assert_eq!(Failure::Ended.answer(None).status, StatusCode::BAD_GATEWAY);
        assert_eq!(Failure::NoConnection.answer(None).status, StatusCode::GATEWAY_TIMEOUT);
    }
}
