//! The gateway's talk with the supervisor: questions, verdicts, news, lines for the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::GatewayError;
use super::endpoint::guard_history;
use super::probe;
use super::seen::seen;
use super::shared::Shared;
use crate::wire::channel::Channel;
use crate::wire::line::Line;
use crate::wire::message::{Answering, FromGateway, ProcessState, ToGateway};
use crate::wire::overview::Seen;

/// How often what was seen is told, where it has changed.
const NEWS: Duration = Duration::from_secs(1);
/// How often the guests that are left are counted while draining.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// The gateway's end.
pub(crate) struct Link {
    channel: Channel,
    shared: Arc<Shared>,
    lines: mpsc::Receiver<Line>,
    questions: mpsc::Receiver<FromGateway>,
    answering: watch::Receiver<Answering>,
    told: Seen,
    drained: bool,
}

impl Link {
    /// Starts the probe too, whose findings are told to the supervisor, and the history of the status page.
    pub(crate) fn new(
        channel: Channel,
        shared: Arc<Shared>,
        lines: mpsc::Receiver<Line>,
        questions: mpsc::Receiver<FromGateway>,
    ) -> Self {
        let answering = probe::start(shared.clone());
        guard_history::start(shared.clone());
        Self { channel, shared, lines, questions, answering, told: Seen::default(), drained: false }
    }

    /// Works until the supervisor is gone, which is the end.
    pub(crate) async fn work(mut self) -> Result<(), GatewayError> {
        let mut look = tokio::time::interval(DRAIN_LOOK);
        let mut news = tokio::time::interval(NEWS);
        news.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let draining = *self.shared.draining.borrow() && !self.drained;
            tokio::select! {
                message = self.channel.receive::<ToGateway>() => match message? {
                    Some((message, _)) => self.hear(message).await?,
                    None => return Ok(()),
                },
                Some(question) = self.questions.recv() => self.channel.send(&question).await?,
                Some(line) = self.lines.recv() => self.channel.send(&FromGateway::Log(line)).await?,
                Ok(()) = self.answering.changed() => self.tell_answering().await?,
                _ = news.tick() => self.tell_seen().await?,
                _ = look.tick(), if draining => {
                    if self.shared.connections.load(Ordering::Relaxed) == 0 {
                        self.drained = true;
                        self.channel.send(&FromGateway::Drained).await?;
                    }
                }
            }
        }
    }

    async fn hear(&mut self, message: ToGateway) -> Result<(), GatewayError> {
        match message {
            ToGateway::Setup(_) => return Err(GatewayError::NoSetup),
            ToGateway::Settings(settings) => self.shared.settings.store(Arc::new(*settings)),
            ToGateway::Identity(identity) => self.shared.replace_identity(&identity),
            ToGateway::Key(state) => self.shared.replace_key(state),
            ToGateway::Verdict { ticket, verdict } => self.shared.judge.settle(ticket, verdict),
            ToGateway::SessionOpened { ticket, opening } => self.shared.sessions.opened(ticket, opening),
            ToGateway::SessionJudged { ticket, facts } => self.shared.sessions.settle(ticket, facts),
            ToGateway::SessionsEnded(digests) => self.shared.sessions.note_ended(&digests),
            ToGateway::Comfyui(state) => {
                let anew = state == ProcessState::Starting;
                self.shared.health.send_modify(|health| {
                    health.process = state;
                    if anew {
                        health.answering = Answering::Unknown;
                    }
                });
                // A new process has to be seen to serve; what the last one did says nothing about it.
                if anew {
                    self.channel.send(&FromGateway::Observed(Answering::Unknown)).await?;
                } else {
                    self.tell_answering().await?;
                }
            }
            ToGateway::Overview(overview) => self.shared.health.send_modify(|health| health.overview = *overview),
            ToGateway::Gpu(reading) => self.shared.health.send_modify(|health| health.gpu = reading),
            ToGateway::Check(number) => self.channel.send(&FromGateway::Checked(number)).await?,
            ToGateway::Drain(within) => {
                tracing::debug!(?within, "draining");
                self.shared.draining.send_replace(true);
            }
        }
        Ok(())
    }

    /// What else is new.
    async fn tell_seen(&mut self) -> Result<(), GatewayError> {
        let seen = seen(&self.shared);
        if seen != self.told {
            self.told = seen.clone();
            self.channel.send(&FromGateway::Seen(Box::new(seen))).await?;
        }
        Ok(())
    }

    async fn tell_answering(&mut self) -> Result<(), GatewayError> {
        let answering = *self.answering.borrow_and_update();
        Ok(self.channel.send(&FromGateway::Observed(answering)).await?)
    }
}
