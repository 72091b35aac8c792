//! PROCESS 2: faces the network without any privilege.

mod auth;
mod proxy;
