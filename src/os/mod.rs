//! The room os.

pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod users;
