//! Commands as a user types them: whole output and exit code.

mod check;
mod config;
mod estate;
mod explain;
mod formats;
mod init;
mod program;
mod wrong;
