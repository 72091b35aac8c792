//! What is done about a request from the control socket.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;
use super::comfyui::RestartRefused;
use super::control::Reply;
use crate::os::systemd;
use crate::wire::control::{Answer, Request};

impl Supervisor {
    /// Carries a request out and answers; whether anybody still listens does not matter.
    pub(super) fn asked(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        let answer = match request {
            Request::Status => Reply::Once(self.status_answer()),
            Request::Restart => Reply::Once(match self.restart_comfyui() {
                Ok(said) => Answer::Done(said.to_owned()),
                Err(why) => Answer::Error(why.to_string()),
            }),
            Request::Logs { lines, follow } => self.lines(lines, follow),
        };
        if reply.send(answer).is_err() {
            tracing::debug!("who asked has gone");
        }
    }

    /// Restarts ComfyUI, and it alone. Its queue is in its memory: the jobs in it are lost.
    ///
    /// # Errors
    /// It is not the guard's own, or the guard is ending.
    pub(super) fn restart_comfyui(&mut self) -> Result<&'static str, RestartRefused> {
        if self.stopping.is_some() {
            return Err(RestartRefused::Ending);
        }
        self.comfyui.as_mut().ok_or(RestartRefused::External)?.restart(Instant::now())
    }

    fn status_answer(&mut self) -> Answer {
        match serde_json::to_value(self.status()) {
            Ok(status) => Answer::Status(status),
            Err(error) => Answer::Error(format!("the status cannot be written: {error}")),
        }
    }

    /// The journal keeps all lines, with their times: where it has them, it is the better place to read.
    fn lines(&self, most: usize, follow: bool) -> Reply {
        if systemd::stderr_is_journal() {
            return Reply::Once(Answer::Journal { unit: systemd::own_unit() });
        }
        match &self.comfyui {
            None => Reply::Once(Answer::Error(
                "this ComfyUI is not the guard's own (comfyui.external): its lines are where it was started".to_owned(),
            )),
            Some(comfyui) if follow => {
                let (lines, news) = comfyui.tail().listen(most);
                Reply::Lines(lines, Some(news))
            }
            Some(comfyui) => Reply::Lines(comfyui.tail().lines(most, usize::MAX), None),
        }
    }
}
