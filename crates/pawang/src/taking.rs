//! How a backup is asked for, the same for a person and for the daemon.

use pawang_backup::take::{LANES, Owner, Reading, THREADS, TakeRequest, WAL_WAIT, Wanted};
use pawang_backup::{BackupId, Repository};
use pawang_core::{Kind, Report};

use crate::environment;
use crate::estate::Job;

/// Letters of the word that makes an owner's lease its own.
const WORD_BYTES: usize = 8;

/// Returns the request for a backup of an instance as nobody said anything special.
///
/// # Errors
/// The operating system gives no random numbers.
pub(crate) fn request(job: &Job, repository: &Repository) -> Result<TakeRequest, Report> {
    Ok(TakeRequest {
        target: job.target.clone(),
        instance: job.instance.name.clone(),
        repository: repository.clone(),
        backup: BackupId::new(environment::now(), random()?),
        owner: owner()?,
        wanted: Wanted::Auto,
        reading: Reading::Auto,
        new_identity: false,
        checkpoint_fast: true,
        rate_max: None,
        store_rate: None,
        space: None,
        lanes: LANES,
        threads: THREADS,
        wal_wait: WAL_WAIT,
        tool: format!("pawang {}", env!("CARGO_PKG_VERSION")),
        clock: environment::now,
    })
}

/// Returns who this process is, for leases.
///
/// # Errors
/// The operating system gives no random numbers.
pub(crate) fn owner() -> Result<Owner, Report> {
    let bytes: [u8; WORD_BYTES] = random()?;
    Ok(Owner {
        word: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        host: environment::machine(),
        pid: std::process::id(),
    })
}

/// Returns bytes that nobody can guess.
///
/// # Errors
/// The operating system gives none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Report> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Report::new(
            Kind::Refused,
            "the operating system gives no random numbers",
        )
        .with_detail(error.to_string())
    })?;
    Ok(bytes)
}
