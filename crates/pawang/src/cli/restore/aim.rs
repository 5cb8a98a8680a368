//! To where: the options `--to`, `--to-lsn`, `--to-xid`, `--to-name`.

use jiff::tz::TimeZone;
use pawang_backup::restore::{Source, Target, Wanted, target};
use pawang_backup::wal::Timeline;
use pawang_core::{Kind, Lsn, Report};

/// To where
#[derive(Debug, clap::Args)]
#[group(id = "aim", multiple = true)]
pub(crate) struct Aim {
    /// Time with its zone ("2026-11-20 14:30 Asia/Jakarta"), `latest`, or `immediate`
    #[arg(long, value_name = "TIME", conflicts_with_all = ["to_lsn", "to_xid", "to_name"])]
    pub(crate) to: Option<String>,
    /// WAL position, as pg_current_wal_lsn() gives it
    #[arg(long, value_name = "LSN", conflicts_with_all = ["to_xid", "to_name"])]
    to_lsn: Option<Lsn>,
    /// Transaction that is the last one
    #[arg(long, value_name = "XID", conflicts_with = "to_name")]
    to_xid: Option<String>,
    /// Restore point, which pg_create_restore_point() made
    #[arg(long, value_name = "NAME")]
    to_name: Option<String>,
    /// Stop before the target instead of behind it
    #[arg(long, hide_short_help = true)]
    pub(crate) exclusive: bool,
    /// Timeline to follow, instead of the newest
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    pub(crate) timeline: Option<u32>,
    /// Backup to begin with, instead of the best one; `latest` for the newest
    #[arg(long, value_name = "BACKUP", hide_short_help = true)]
    pub(crate) backup: Option<String>,
}

impl Aim {
    /// Returns what is wanted; `here` is the zone of whoever asks, for the question which one is meant.
    ///
    /// # Errors
    /// The target cannot be read, or is ambiguous.
    pub(crate) fn wanted(&self, here: &TimeZone) -> Result<Wanted, Report> {
        self.with(self.target(here)?)
    }

    /// Returns the target alone.
    ///
    /// # Errors
    /// It cannot be read, or is ambiguous.
    pub(crate) fn target(&self, here: &TimeZone) -> Result<Target, Report> {
        Ok(match (&self.to, self.to_lsn, &self.to_xid, &self.to_name) {
            (Some(text), ..) => target::parse(text, here)?,
            (_, Some(position), ..) => Target::Lsn(position),
            (.., Some(id), _) => target::xid(id)?,
            (.., Some(name)) => target::name(name)?,
            _ => Target::Latest,
        })
    }

    fn is_latest(&self) -> bool {
        let named = self.backup.as_deref();
        named.is_some_and(|name| name.eq_ignore_ascii_case("latest"))
    }

    /// Returns what is wanted, with the name of the newest backup where that is asked for.
    pub(crate) fn settled(&self, wanted: Wanted, source: &Source) -> Wanted {
        if !self.is_latest() {
            return wanted;
        }
        let newest = source.commits.iter().max_by_key(|commit| commit.ended_at);
        Wanted {
            backup: newest.map(|commit| commit.backup.clone()),
            ..wanted
        }
    }

    /// Says whether a target was written at all.
    pub(crate) fn is_said(&self) -> bool {
        let other = self.to_lsn.is_some() || self.to_xid.is_some() || self.to_name.is_some();
        self.to.is_some() || other
    }

    /// Returns what is wanted, with a target that was chosen otherwise.
    ///
    /// # Errors
    /// The name of the backup is none.
    pub(crate) fn with(&self, target: Target) -> Result<Wanted, Report> {
        let named = self.backup.as_ref().filter(|_| !self.is_latest());
        let backup = named.map(|text| {
            text.parse().map_err(|_| {
                Report::new(
                    Kind::Usage,
                    format!("cannot read \"{text}\" as the name of a backup"),
                )
                .with_hint("pawang backup list")
            })
        });
        Ok(Wanted {
            target,
            inclusive: !self.exclusive,
            timeline: self.timeline.map(Timeline),
            backup: backup.transpose()?,
        })
    }
}
