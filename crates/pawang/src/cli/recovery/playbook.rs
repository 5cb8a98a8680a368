//! What to do when rows, the data directory or the machine are lost, as exact commands for one instance.

use std::fmt::Write as _;

use pawang_backup::ClusterId;
use pawang_config::{RepositoryConfig, RepositoryPlace};

use crate::cli::backup::entry_text;

/// How another machine gets at a repository.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    place: String,
    folder: bool,
    /// What `pawang.toml` has to say of it there; nothing for a folder in the clear.
    entry: Option<String>,
    /// Where the secret key is, when what is stored is encrypted.
    key: Option<String>,
    /// The cluster of the instance, when it was seen.
    pub(super) cluster: Option<ClusterId>,
}

impl Way {
    pub(super) fn of(config: &RepositoryConfig) -> Way {
        let folder = matches!(config.location(), Some(RepositoryPlace::Directory(_)));
        let sealed = config.encryption.is_some();
        let file = config.identity_file.as_ref();
        Way {
            place: config.place.clone(),
            folder,
            entry: (!folder || sealed).then(|| entry_text(config).trim().to_owned()),
            key: sealed.then(|| {
                file.map_or_else(
                    || "that this machine does not have".to_owned(),
                    |file| format!("in `{}` of this machine", file.display()),
                )
            }),
            cluster: None,
        }
    }
}

/// Writes the playbook of an instance; its repository is the first that was seen.
pub(super) fn write(text: &mut String, name: &str, ways: &[&Way]) {
    let way = ways.iter().find(|way| way.cluster.is_some());
    let Some(way) = way.or(ways.first()) else {
        let _ = write!(
            text,
            "\n### What to do\n\nNothing can be restored: `pawang backup setup -i {name} --repo /srv/backup`.\n"
        );
        return;
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n### Rows or tables were lost by mistake\n\n\
         1. Stop what still writes the mistake; leave the server running.\n\
         2. Find the moment before it: the log, or `pawang history`.\n\
         3. `pawang restore -i {name} --table SCHEMA.TABLE --to \"TIME ZONE\" --into-schema restored --merge merge.json`: the \
         table as it was, beside the one of now, compared with it.\n\
         4. Read `merge.json`, then `pawang maintain apply merge.json -i {name} --allow-high-risk` brings the rows back.\n\
         5. For more than some tables: `pawang restore -i {name} --into NEW --to \"TIME ZONE\" --preview`, then without \
         `--preview`; start it beside the server, `pg_ctl start -D NEW -o \"-p 5499\"`.\n\
         \n### The data directory is damaged\n\n\
         1. Stop the server: `pg_ctl stop -D DATA -m immediate`. Do not delete anything.\n\
         2. `pawang restore -i {name} --into DATA --replace --action promote`: the old directory is moved aside, and WAL in it \
         that was not archived is replayed.\n\
         3. Start it, look, set `archive_mode` again, and take a backup: `pawang backup create -i {name}`.\n",
    );
    machine(text, name, way);
}

fn machine(text: &mut String, name: &str, way: &Way) {
    let place = &way.place;
    let version = way.cluster.map_or_else(
        || "the same major version of PostgreSQL".to_owned(),
        |cluster| format!("PostgreSQL {}", cluster.major),
    );
    let cluster = way
        .cluster
        .map_or_else(|| "CLUSTER".to_owned(), |cluster| cluster.to_string());
    let reached = match way.folder {
        true => format!("mount `{place}`"),
        false => format!("see that it reaches `{place}`"),
    };
    let mut steps = vec![format!(
        "Install {version} and Pawang on another machine, and {reached}."
    )];
    if let Some(key) = &way.key {
        steps.push(format!(
            "Bring the secret key, {key}: without it nothing in `{place}` can be restored. Keep a copy of it where this machine is not."
        ));
    }
    let config = match &way.entry {
        Some(entry) => {
            steps.push(format!(
                "Write this as `pawang.toml`, with the files that it names:\n\n   ```toml\n   {}\n   ```",
                entry.replace('\n', "\n   ")
            ));
            " --config pawang.toml"
        }
        None => "",
    };
    let unseen = match way.cluster {
        Some(_) => "",
        None => {
            " CLUSTER is a name in its folder `cluster`; it was not seen when this was written."
        }
    };
    steps.push(format!(
        "`pawang restore --repository {place} --cluster {cluster} --into DATA --action promote{config}`.{unseen}"
    ));
    steps.push(format!(
        "Start it; make sure that the old machine cannot come back; point clients to it; take a backup: \
         `pawang backup create -i {name}`."
    ));
    steps.push(format!(
        "Without Pawang: `README.md` in `{place}` says how to do it with `tar` and `zstd`{}.",
        if way.key.is_some() { " and `age`" } else { "" }
    ));
    text.push_str("\n### The machine is lost\n\n");
    for (number, step) in (1..).zip(steps) {
        let _ = writeln!(text, "{number}. {step}");
    }
}

#[cfg(test)]
mod tests {
    use pawang_config::Encryption;

    use super::*;

    fn written(config: &RepositoryConfig, cluster: Option<&str>) -> String {
        let way = Way {
            cluster: cluster.map(|id| id.parse().unwrap()),
            ..Way::of(config)
        };
        let mut text = String::new();
        write(
            &mut text,
            "dwh",
            &[&Way::default(), &way][usize::from(cluster.is_none())..],
        );
        text
    }

    #[test]
    fn another_machine_is_told_all_that_it_needs() {
        let plain = RepositoryConfig {
            name: "main".to_owned(),
            place: "/srv/backup".to_owned(),
            ..RepositoryConfig::default()
        };
        let cluster = "7300000000000000001-17";
        let text = written(&plain, Some(cluster));
        for words in [
            "Install PostgreSQL 17 and Pawang",
            "`pawang restore --repository /srv/backup --cluster 7300000000000000001-17 --into DATA --action promote`.",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        for words in ["pawang.toml", "secret key", "pg_dump"] {
            assert!(!text.contains(words), "{words}: {text}");
        }
        let bucket = RepositoryConfig {
            place: "s3://bucket/dwh".to_owned(),
            endpoint: Some("https://store.example".to_owned()),
            path_style: Some(true),
            secret_key_file: Some("/etc/pawang/s3.key".into()),
            encryption: Some(Encryption::Age),
            identity_file: Some("/etc/pawang/main.identity".into()),
            ..plain.clone()
        };
        let text = written(&bucket, None);
        for words in [
            "secret key, in `/etc/pawang/main.identity`",
            "endpoint = \"https://store.example\"",
            "path_style = true",
            "secret_key_file = \"/etc/pawang/s3.key\"",
            "--cluster CLUSTER --into DATA --action promote --config pawang.toml`. CLUSTER is",
            "and `age`",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let mut text = String::new();
        write(&mut text, "dwh", &[]);
        assert!(text.contains("setup -i dwh --repo "), "{text}");
        assert!(!text.contains("pawang restore"), "{text}");
    }
}
