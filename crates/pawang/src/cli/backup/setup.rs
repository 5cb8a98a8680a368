//! `pawang backup setup`: a repository, its entry in pawang.toml, the first backup, and its first proof.

use std::path::{Path, PathBuf};

use pawang_backup::repository::{Identity, Keys, directory};
use pawang_backup::take::{Progress, Wanted, take};
use pawang_backup::{Owner, Repository};
use pawang_config::{Config, Encryption, RepositoryConfig};
use pawang_core::{Kind, Level, Report};
use serde_json::json;

use super::find::only;
use super::preflight::preflight;
use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::output::{self, Exit};
use crate::{recovering, repositories, taking};

/// What a repository is called where nobody says otherwise.
const NAME: &str = "main";
/// What is written when the file says nothing about backups yet.
const POLICY: &str = "
[backup]
retention = { fulls = 2, window = \"14 d\" }
drill_every = \"7 d\"
# window = \"daily 01:00-05:00\"  # when pawang serve takes backups by itself
# stream = true                 # pawang serve receives WAL as it is written, through a slot
";

/// Make a repository, name it in pawang.toml, take the first backup, and prove it
///
/// What is in the file stays as it is: what is added is printed, and stands at its end. Everything that is done can be done
/// again: a repository that is there is used, and an entry that is there is left alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A folder, or s3://bucket/prefix; how a bucket is reached has to be in pawang.toml before
    #[arg(long, value_name = "PLACE", visible_alias = "repository")]
    repo: String,
    /// Name of the repository; else that of the configured one with this place, else main
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Encrypt what comes into the repository, as files of age
    ///
    /// A key pair is made beside pawang.toml unless a recipient or an identity file is named. Without a secret key nothing can be
    /// restored.
    #[arg(long)]
    encrypt: bool,
    /// Public key of age for whose holder is encrypted (repeatable)
    #[arg(long = "recipient", value_name = "AGE1", requires = "encrypt")]
    recipients: Vec<String>,
    /// File with a secret key of age; it is made when it is not there
    #[arg(long, value_name = "FILE", requires = "encrypt")]
    identity_file: Option<PathBuf>,
    /// Make and name the repository only
    #[arg(long)]
    no_backup: bool,
    /// Do not prove the backup by a restore into a server that is thrown away
    #[arg(long)]
    no_drill: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let Some(file) = estate.file.clone() else {
        let report = Report::new(
            Kind::Usage,
            "there is no pawang.toml to name the repository in",
        );
        return Err(report.with_hint("pawang init"));
    };
    let place = if args.repo.contains("://") {
        args.repo.clone()
    } else {
        let path = std::path::absolute(&args.repo).map_err(|error| {
            let what = format!("cannot read \"{}\" as a path", args.repo);
            Report::new(Kind::Usage, what).with_detail(error.to_string())
        })?;
        path.display().to_string()
    };
    let job = only(&estate, global)?;
    let mut entry = entry(&estate.config, args.name.as_deref(), &place)?;
    if args.encrypt {
        encrypt(&mut entry, args, &file, &estate.config)?;
    }
    let made = each(&estate, std::slice::from_ref(&job), async |_| {
        make(&entry).await
    })?;
    let Some(made) = made else {
        return Ok(Exit::Interrupted);
    };
    made.into_iter()
        .collect::<Result<Vec<Repository>, Report>>()?;
    output::talk(&format!(
        "{place} is a repository; its README.md says how it is read without Pawang"
    ));
    let added = add(&estate.config, &file, &entry)?;
    let estate = Estate::load(Some(&file)).map_err(told)?;
    let Some(first) = first(&estate, &job, &entry.name, args)? else {
        return Ok(Exit::Interrupted);
    };
    if global.json {
        let data = json!({
            "instance": job.instance.name,
            "repository": entry.name,
            "place": place,
            "added": added,
            "backup": first.as_ref().ok().and_then(|first| first.backup.as_ref()),
            "proven": first.as_ref().is_ok_and(|first| first.proof == Tried::Proven),
        });
        output::json("pawang.backup.setup/1", &data)?;
    }
    let (proof, name) = (first?.proof, &job.instance.name);
    if matches!(proof, Tried::NotAsked | Tried::Not) {
        output::talk(&format!(
            "prove it by a restore: pawang drill run -i {name}"
        ));
    }
    output::talk(&format!(
        "see what is missing: pawang backup check -i {name}"
    ));
    Ok(match proof {
        Tried::NotAsked | Tried::Proven => Exit::Good,
        Tried::Wrong => Exit::Answer,
        Tried::Not => Exit::Target,
    })
}

/// What was done at first.
struct First {
    /// The first backup, if one was wanted.
    backup: Option<String>,
    proof: Tried,
}

/// What became of the first proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// Nobody wanted it.
    NotAsked,
    Proven,
    /// Something was found wrong.
    Wrong,
    /// It could not be done here, which says nothing of the backup.
    Not,
}

/// Returns the entry that is there, or a new one.
fn entry(config: &Config, name: Option<&str>, place: &str) -> Result<RepositoryConfig, Report> {
    let is_there =
        |it: &&RepositoryConfig| it.place.trim_end_matches('/') == place.trim_end_matches('/');
    // The entry of a bucket says how it is reached, whatever its name is.
    let of_place = config.repositories.iter().find(is_there);
    if let (None, Some(there)) = (name, of_place) {
        return Ok(there.clone());
    }
    let name = name.unwrap_or(NAME);
    match config.repository(name) {
        Some(there) if is_there(&there) => Ok(there.clone()),
        Some(there) => {
            let what = format!("repository \"{name}\" is {} already", there.place);
            Err(Report::new(Kind::Refused, what).with_hint("name another one with --name"))
        }
        None => Ok(RepositoryConfig {
            name: name.to_owned(),
            place: place.to_owned(),
            ..RepositoryConfig::default()
        }),
    }
}

async fn make(entry: &RepositoryConfig) -> Result<Repository, Report> {
    let settings = repositories::settings(entry)?;
    let random = taking::random()?;
    let made = Repository::setup(&entry.place, &settings, environment::now(), random).await;
    made.map_err(|error| error.report())
}

/// Adds what is missing at the end of the file, after it was read as a whole, and returns that.
fn add(config: &Config, file: &Path, entry: &RepositoryConfig) -> Result<String, Report> {
    let mut added = String::new();
    if config.repository(&entry.name).is_none() {
        added = entry_text(entry);
    }
    if config.backup == Default::default() {
        added.push_str(POLICY);
    }
    if added.is_empty() {
        return Ok(added);
    }
    let before = std::fs::read_to_string(file).map_err(|error| {
        let what = format!("could not read file \"{}\"", file.display());
        Report::new(Kind::Usage, what).with_detail(error.to_string())
    })?;
    let line_end = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let whole = format!("{before}{line_end}{added}");
    if let Err(errors) = pawang_config::parse(&whole, &file.display().to_string()) {
        let report = Report::new(
            Kind::Usage,
            format!("cannot add to \"{}\" by itself", file.display()),
        );
        return Err(report.with_detail(format!("{errors}\nadd this where it fits:\n{added}")));
    }
    output::replace_file(file, &whole)?;
    output::talk(&format!("added to {}:\n{}", file.display(), added.trim()));
    Ok(added)
}

/// Returns an entry as it stands in pawang.toml: all that says how the place is reached and who can read it.
pub(crate) fn entry_text(entry: &RepositoryConfig) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut added = format!(
        "\n[[repository]]\nname = {}\nplace = {}\n",
        text(&entry.name),
        text(&entry.place)
    );
    let file = |file: &Option<PathBuf>| file.as_ref().map(|file| text(&file.display().to_string()));
    for (key, value) in [
        ("endpoint", entry.endpoint.as_deref().map(text)),
        ("region", entry.region.as_deref().map(text)),
        ("access_key", entry.access_key.as_deref().map(text)),
        ("secret_key_file", file(&entry.secret_key_file)),
        ("path_style", entry.path_style.map(|it| it.to_string())),
        ("allow_http", entry.allow_http.then(|| "true".to_owned())),
        ("ca_file", file(&entry.ca_file)),
    ] {
        if let Some(value) = value {
            added.push_str(&format!("{key} = {value}\n"));
        }
    }
    if entry.encryption.is_some() {
        let recipients: Vec<String> = entry.recipients.iter().map(|it| text(it)).collect();
        added.push_str(&format!(
            "encryption = \"age\"\nrecipients = [{}]\n",
            recipients.join(", ")
        ));
    }
    if let Some(file) = file(&entry.identity_file) {
        added.push_str(&format!("identity_file = {file}\n"));
    }
    added
}

/// Says in an entry for whom is encrypted, and makes a key pair where none is named.
fn encrypt(
    entry: &mut RepositoryConfig,
    args: &Args,
    file: &Path,
    config: &Config,
) -> Result<(), Report> {
    if entry.encryption.is_some() {
        return Ok(());
    }
    if config.repository(&entry.name).is_some() {
        let what = format!("repository \"{}\" is named without encryption", entry.name);
        let report = Report::new(Kind::Refused, what)
            .with_detail("what is in the file stays as it is")
            .with_hint(format!(
                "put encryption = \"age\" and recipients = [...] into its [[repository]] in {}, or choose another --name",
                file.display()
            ));
        return Err(report);
    }
    entry.encryption = Some(Encryption::Age);
    entry.recipients.clone_from(&args.recipients);
    let name = entry.name.clone();
    let beside = || {
        let folder = file.parent().unwrap_or(Path::new(""));
        folder.join(format!("{name}.identity"))
    };
    let named = args.identity_file.clone();
    let identity_file = named.or_else(|| args.recipients.is_empty().then(beside));
    let Some(path) = identity_file else {
        output::talk("this machine gets no secret key: it takes backups, and restores none");
        return Ok(());
    };
    let path = std::path::absolute(&path).unwrap_or(path);
    for recipient in recipients_of(&path, &entry.place)? {
        if !entry.recipients.contains(&recipient) {
            entry.recipients.push(recipient);
        }
    }
    entry.identity_file = Some(path);
    Ok(())
}

/// Returns the recipients of the identities in a file, which is made when it is not there.
fn recipients_of(path: &Path, place: &str) -> Result<Vec<String>, Report> {
    let failed = |error: std::io::Error| {
        let what = format!("could not write identity file \"{}\"", path.display());
        Report::new(Kind::Usage, what).with_detail(error.to_string())
    };
    if !path.exists() {
        let identity = Identity::generate().map_err(failed)?;
        let text = identity.file_text(environment::now());
        output::new_secret_file(path, text.reveal()).map_err(failed)?;
        // A server that is restored reads it too, to get its WAL from there.
        if let Some(owner) = Owner::of(directory(place).unwrap_or(Path::new("/"))) {
            owner.give(path).map_err(failed)?;
        }
        output::talk(&format!(
            "made {0}, which holds the secret key: without it nothing in this repository can be restored\n\
             keep a copy of it in another place than the repository: cp -p {0} ...",
            path.display()
        ));
    }
    let keys = Keys::load(&[], Some(path))?;
    if let Some(locked) = keys.locked() {
        let what = format!("could not read identity file \"{}\"", path.display());
        return Err(Report::new(Kind::Usage, what).with_detail(locked.to_string()));
    }
    let identities = keys.identities.iter();
    Ok(identities
        .map(|identity| identity.recipient().to_string())
        .collect())
}

/// Takes the first backup unless one is not wanted; `None` when a signal came first.
fn first(
    estate: &Estate,
    job: &Job,
    name: &str,
    args: &Args,
) -> Result<Option<Result<First, Report>>, Report> {
    const NOTHING: First = First {
        backup: None,
        proof: Tried::NotAsked,
    };
    if args.no_backup {
        return Ok(Some(Ok(NOTHING)));
    }
    let taken = each(estate, std::slice::from_ref(job), async |job| {
        let findings = preflight(estate, job).await;
        let in_the_way = |subject: &str| {
            matches!(
                subject,
                "replication protocol" | "wal_level" | "max_wal_senders"
            )
        };
        let wrong = findings.iter().filter(|told| told.level == Level::Critical);
        if let Some(wrong) = wrong.into_iter().find(|told| in_the_way(&told.subject)) {
            let what = format!("no backup can be taken: {}: {}", wrong.subject, wrong.what);
            let report = Report::new(Kind::Target, what);
            return Err(match &wrong.hint {
                Some(hint) => report.with_hint(hint),
                None => report,
            });
        }
        let Some(entry) = estate.config.repository(name) else {
            return Ok(NOTHING);
        };
        let settings = estate.config.backup_settings(&job.config);
        let repository = repositories::open(entry).await?;
        let mut request =
            repositories::take_request(entry, &repository, job, &settings, Wanted::Full)?;
        request.checkpoint_fast = true;
        let mut observe = |progress: Progress| {
            if !matches!(progress, Progress::Came(_)) {
                output::talk(&format!(
                    "{}: {}",
                    job.instance.name,
                    repositories::progress_words(&progress)
                ));
            }
        };
        let commit = take(request, &mut observe)
            .await
            .map_err(|error| error.report())?;
        output::talk(&format!("backup {} is there, with its WAL", commit.backup));
        let proof = match args.no_drill {
            true => Tried::NotAsked,
            false => prove(estate, job, entry).await,
        };
        Ok(First {
            backup: Some(commit.backup.to_string()),
            proof,
        })
    })?;
    Ok(taken.and_then(|mut taken| taken.pop()))
}

/// Proves the first backup; what keeps that from being done says nothing against the backup.
async fn prove(estate: &Estate, job: &Job, entry: &RepositoryConfig) -> Tried {
    let mut begun = |what: String| output::talk(&format!("restores {what}, to prove it"));
    let now = environment::now();
    let proven = recovering::prove(estate, job, entry, &mut begun, now).await;
    match proven {
        Ok(Some(drilled)) => match drilled.proof.problems.first() {
            None => {
                output::talk(&format!("{} is proven", drilled.proof.backup));
                Tried::Proven
            }
            Some(problem) => {
                output::talk(&format!("error: it is not proven: {problem}"));
                Tried::Wrong
            }
        },
        Ok(None) => Tried::Not,
        Err(report) => {
            output::talk(&format!("it is not proven yet: {report}"));
            Tried::Not
        }
    }
}
