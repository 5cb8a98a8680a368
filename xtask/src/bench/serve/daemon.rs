//! A daemon in a folder of its own, and the waiting until it has seen everything.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::http;
use crate::bench::process::Process;

const READY_MAX: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A daemon that runs.
pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// Starts a daemon for so many instances, all of them the same server under other names, and waits until all of
    /// them have been judged.
    pub(crate) fn start(
        binary: &Path,
        folder: &Path,
        url: &str,
        instances: usize,
    ) -> Result<Daemon, String> {
        Daemon::with(binary, folder, url, instances, "")
    }

    /// Starts a daemon whose configuration has more to it.
    pub(crate) fn with(
        binary: &Path,
        folder: &Path,
        url: &str,
        instances: usize,
        more: &str,
    ) -> Result<Daemon, String> {
        let address = free_address()?;
        let mut config = format!(
            "state_directory = \"state\"\n[serve]\nlisten = \"{address}\"\ndata_directory = \"data-{instances}\"\n\
             [serve.metrics]\nseries_per_collector = 1000000\n"
        );
        for index in 1..=instances {
            config.push_str(&format!(
                "[[instance]]\nname = \"dwh-{index}\"\nurl = \"{url}\"\n"
            ));
        }
        config.push_str(more);
        let file = folder.join(format!("pawang-{instances}.toml"));
        std::fs::write(&file, config)
            .map_err(|error| format!("could not write {file:?}: {error}"))?;
        let mut command = Command::new(binary);
        command
            .arg("--config")
            .arg(&file)
            .arg("serve")
            .current_dir(folder);
        for variable in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            command.env(variable, folder);
        }
        let daemon = Daemon {
            process: Process::start(&mut command)?,
            address,
        };
        daemon.wait(instances)?;
        Ok(daemon)
    }

    fn wait(&self, instances: usize) -> Result<(), String> {
        let begin = Instant::now();
        let mut last = "nothing yet".to_owned();
        while begin.elapsed() < READY_MAX {
            match self.judged() {
                Ok(judged) if judged >= instances => return Ok(()),
                Ok(judged) => last = format!("{judged} of {instances} instances are judged"),
                Err(error) => last = error,
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(format!("the daemon was not ready in time: {last}"))
    }

    /// Returns how many instances have verdicts.
    fn judged(&self) -> Result<usize, String> {
        let answer = self.json("/api/v1/instances?limit=200")?;
        let list = answer
            .as_array()
            .ok_or_else(|| format!("no list of instances in {answer}"))?;
        let counted = |instance: &&Value| {
            let counts = instance["findings"].as_object();
            counts.is_some_and(|counts| counts.values().any(|count| count.as_u64() > Some(0)))
        };
        Ok(list.iter().filter(counted).count())
    }

    /// Asks the API.
    pub(crate) fn json(&self, path: &str) -> Result<Value, String> {
        let answer = http::get(self.address, path, false)?;
        if answer.status != 200 {
            return Err(format!("{path} answered {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
    }

    /// Returns the processor time per second and the memory in megabytes over a while.
    pub(crate) fn watch(&self, length: Duration) -> Result<(f64, f64), String> {
        let before = self.process.cpu_seconds()?;
        let begin = Instant::now();
        let mut most = 0.0_f64;
        while begin.elapsed() < length {
            std::thread::sleep(LOOK_EVERY);
            most = most.max(self.process.memory_mb()?.0);
        }
        let used = self.process.cpu_seconds()? - before;
        Ok((used / begin.elapsed().as_secs_f64(), most))
    }
}

/// Returns an address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("could not find a free port: {error}"))
}
