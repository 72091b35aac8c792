//! The room os.

pub(crate) mod users;
