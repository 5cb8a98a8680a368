//! Commands as a user types them: whole output and exit code.
