//! What the client programs of PostgreSQL need in their environment to reach a server as Pawang does.

use std::ffi::OsString;

use crate::{Host, RootCertificate, Ssl, SslMode, Target};

impl Ssl {
    /// Returns the variables by which a program protects its connections as Pawang protects its own.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mode = match self.mode {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        };
        let root = match &self.root {
            RootCertificate::None => None,
            RootCertificate::Default(path) | RootCertificate::File(path) => Some(path.into()),
            RootCertificate::System => Some("system".into()),
        };
        let client = self.client.as_ref();
        let files = [
            ("PGSSLROOTCERT", root),
            ("PGSSLCRL", self.revoked.as_ref().map(Into::into)),
            (
                "PGSSLCERT",
                client.map(|client| (&client.certificate).into()),
            ),
            ("PGSSLKEY", client.map(|client| (&client.key).into())),
        ];
        let files = files
            .into_iter()
            .filter_map(|(name, file)| Some((name, file?)));
        [("PGSSLMODE", mode.into())]
            .into_iter()
            .chain(files)
            .collect()
    }
}

impl Target {
    /// Returns the variables by which a program reaches the very host that a session has found, as the same role; no secret
    /// stands on a command line.
    pub fn variables(&self, address: &str, application: &str) -> Vec<(&'static str, OsString)> {
        let chosen = |host: &&Host| host.to_string() == address;
        let host = self.hosts.iter().find(chosen).or(self.hosts.first());
        let mut variables = self.ssl.variables();
        if let Some(host) = host {
            let (name, port) = match host {
                Host::Socket { directory, port } => (directory.as_os_str().to_owned(), *port),
                Host::Tcp { name, port, .. } => (name.into(), *port),
            };
            variables.push(("PGHOST", name));
            variables.push(("PGPORT", port.to_string().into()));
            let password = self.password_for(host);
            variables.extend(password.map(|it| ("PGPASSWORD", it.reveal().into())));
        }
        variables.push(("PGUSER", self.user.clone().into()));
        variables.push(("PGDATABASE", self.database.clone().into()));
        variables.push(("PGAPPNAME", application.into()));
        variables
    }
}
