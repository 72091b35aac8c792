//! Who is let in: pure decisions from a request's head, without I/O.

pub(crate) mod caller;
pub(crate) mod cookie;
pub(crate) mod credentials;
pub(crate) mod decide;
pub(crate) mod exemption;
pub(crate) mod forgery;
pub(crate) mod next;
pub(crate) mod path;
pub(crate) mod refusal;
mod wellformed;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod fixture;
