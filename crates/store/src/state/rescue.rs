//! What can be saved from a damaged state file.

use std::path::Path;

use pawang_core::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::journal::{self, Entry};
use super::{State, alert, incident, json_at, parcel, silence};
use crate::Error;

/// What the stored password of an account begins with; anything else is damage.
const PASSWORD_START: &str = "$argon2id$";

/// What was saved.
pub(crate) struct Saved {
    /// Accounts; 0 means that they may be lost, and nobody comes in before there is one again.
    pub accounts: usize,
    /// API tokens.
    pub tokens: usize,
    /// Journal records.
    pub records: i64,
    /// Alerts that are not over and groups, silences, windows, incidents, and messages that wait.
    pub alerting: usize,
}

impl Saved {
    /// Tells people what became of the damaged file.
    pub(crate) fn note(&self, what: &str, aside: &Path) -> String {
        let (tokens, records, alerting) = (self.tokens, self.records, self.alerting);
        let rest = format!(
            "{tokens} API tokens, {records} journal records and {alerting} alerts, silences, windows, incidents and \
             messages that wait were saved from it"
        );
        let aside = aside.display();
        match self.accounts {
            0 => format!(
                "ACCOUNTS WERE LOST: the state was damaged ({what}) and is kept as \"{aside}\"; {rest}; \
                 nobody can sign in before pawang account create"
            ),
            accounts => format!(
                "FINDINGS WERE LOST: the state was damaged ({what}) and is kept as \"{aside}\"; \
                 {accounts} accounts, {rest}"
            ),
        }
    }
}

impl State {
    /// Copies from a damaged file what is provably whole into this new one, and journals that.
    ///
    /// Accounts count only when all of them can be read; journal records as far as their chain holds.
    pub(crate) fn rescue(&self, damaged: &Path, now: Timestamp) -> Result<Saved, Error> {
        let mut saved = Saved {
            accounts: 0,
            tokens: 0,
            records: 0,
            alerting: 0,
        };
        if let Ok(old) = State::open_to_read(damaged) {
            saved.accounts = self.rescue_accounts(&old)?;
            saved.tokens = self.rescue_tokens(&old)?;
            saved.records = self.rescue_journal(&old)?;
            saved.alerting = self.rescue_alerting(&old)?;
        }
        self.journal(&Entry {
            at: now,
            actor: "daemon".to_owned(),
            action: "state.set-aside".to_owned(),
            object: damaged.display().to_string(),
            outcome: "done".to_owned(),
            detail: json!({
                "accounts": saved.accounts,
                "tokens": saved.tokens,
                "records": saved.records,
                "alerting": saved.alerting,
            }),
        })?;
        Ok(saved)
    }

    fn rescue_accounts(&self, old: &State) -> Result<usize, Error> {
        let accounts = old.accounts().unwrap_or_default();
        // An account twice, or one without its hash, shows that the table itself is damaged.
        let whole = accounts.windows(2).all(|pair| pair[0].name < pair[1].name)
            && accounts
                .iter()
                .all(|account| account.password_hash.starts_with(PASSWORD_START));
        if accounts.is_empty() || !whole || old.accounts_lost().unwrap_or(true) {
            return Ok(0);
        }
        self.put_accounts(&accounts)?;
        Ok(accounts.len())
    }

    fn rescue_tokens(&self, old: &State) -> Result<usize, Error> {
        let tokens = old.tokens().unwrap_or_default();
        let mut saved = 0;
        for token in &tokens {
            // Two with one hash cannot be; the second one is damage.
            saved += usize::from(self.put_token(token).is_ok());
        }
        Ok(saved)
    }

    fn rescue_journal(&self, old: &State) -> Result<i64, Error> {
        let mut end = journal::start();
        loop {
            let page = old.journal_after(&end).unwrap_or_default();
            if page.is_empty() {
                return Ok(end.records);
            }
            self.write(|transaction| {
                for stored in &page {
                    transaction.execute(
                        "INSERT INTO journal (id, entry, hash) VALUES (?1, ?2, ?3)",
                        params![stored.id, stored.entry, stored.hash],
                    )?;
                    end.records = stored.id;
                    end.hash.clone_from(&stored.hash);
                }
                journal::put_head(transaction, end.records, &end.hash)
            })?;
        }
    }

    /// Saves what decides who is told what next; the log and what is over stay behind.
    fn rescue_alerting(&self, old: &State) -> Result<usize, Error> {
        let old = old.reading();
        self.write(|transaction| {
            let alerts = save(&old, alert::KEPT, alert::kept, |(alert, tally)| {
                alert::put(transaction, &alert, &tally)
            })?;
            let groups = save(&old, alert::GROUPS, alert::group, |group| {
                alert::put_group(transaction, &group)
            })?;
            let silences = save(&old, silence::SILENCES, first, |silence| {
                silence::put(transaction, &silence)
            })?;
            let windows = save(&old, silence::WINDOWS, first, |window| {
                silence::put_window(transaction, &window)
            })?;
            let incidents = save(&old, incident::ALL, first, |incident| {
                incident::put(transaction, &incident)
            })?;
            save(&old, incident::ENTRIES, first, |entry| {
                incident::put_entry(transaction, &entry)
            })?;
            let parcels = save(&old, parcel::ALL, first, |parcel| {
                parcel::put(transaction, &parcel)
            })?;
            Ok(alerts + groups + silences + windows + incidents + parcels)
        })
    }
}

fn first<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    json_at(row, 0)
}

/// Writes what rows can be read: those before the first damaged page, without those that hold nonsense.
fn save<T>(
    old: &Connection,
    sql: &str,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
    mut write: impl FnMut(T) -> rusqlite::Result<()>,
) -> rusqlite::Result<usize> {
    let mut count = 0;
    let Ok(mut statement) = old.prepare(sql) else {
        return Ok(0);
    };
    let Ok(mut rows) = statement.query([]) else {
        return Ok(0);
    };
    while let Ok(Some(row)) = rows.next() {
        if let Ok(found) = read(row) {
            write(found)?;
            count += 1;
        }
    }
    Ok(count)
}
