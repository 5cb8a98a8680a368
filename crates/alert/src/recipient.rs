//! Who is told: channels, contacts and rotas by name, as of now.

use pawang_config::ContactConfig;
use pawang_core::Timestamp;
use pawang_core::alert::Recipient;

use crate::setup::Setup;

/// Who is told, and what is to know about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Who; without repetitions.
    pub recipients: Vec<Recipient>,
    /// Things to know, such as that nobody is on duty and the fallback is told.
    pub notes: Vec<String>,
}

/// Returns who is meant by names of channels, contacts and rotas at a time.
///
/// A rota with nobody on duty, and names that lead nowhere, lead to the fallback, with a note.
pub fn find(setup: &Setup, names: &[String], now: Timestamp) -> Found {
    let mut found = Found::default();
    let troubles = add(&mut found, setup, names, now);
    if names.is_empty() {
        found
            .notes
            .push("no channel is configured: nobody is told".to_owned());
    }
    if troubles.is_empty() {
        return found;
    }
    let fallback = &setup.config.fallback;
    let beyond = add(&mut found, setup, fallback, now);
    let end = match (fallback.is_empty(), beyond.len() == fallback.len()) {
        (true, _) => "there is no fallback",
        (false, true) => "the fallback leads to nobody either",
        (false, false) => "the fallback was told",
    };
    let notes = troubles.iter().map(|trouble| format!("{trouble}: {end}"));
    found.notes.extend(notes);
    found
}

/// Adds whom names lead to; returns why some lead to nobody.
fn add(found: &mut Found, setup: &Setup, names: &[String], now: Timestamp) -> Vec<String> {
    let mut troubles = Vec::new();
    for name in names {
        match one(setup, name, now) {
            Ok(recipients) => {
                for recipient in recipients {
                    if !found.recipients.contains(&recipient) {
                        found.recipients.push(recipient);
                    }
                }
            }
            Err(trouble) => troubles.push(trouble),
        }
    }
    troubles
}

fn one(setup: &Setup, name: &str, now: Timestamp) -> Result<Vec<Recipient>, String> {
    let config = &setup.config;
    if config.channels.iter().any(|channel| channel.name == name) {
        return Ok(vec![Recipient {
            channel: name.to_owned(),
            ..Recipient::default()
        }]);
    }
    let person = match setup.rotas.iter().find(|rota| rota.name == name) {
        Some(rota) => rota
            .on_duty(now)
            .ok_or_else(|| format!("nobody is on duty in rota \"{name}\""))?,
        None => name,
    };
    let contact = config
        .contacts
        .iter()
        .find(|contact| contact.name == person);
    contact.map(recipients).ok_or_else(|| {
        format!(
            "\"{}\" is no channel, contact or rota",
            person.escape_debug()
        )
    })
}

fn recipients(contact: &ContactConfig) -> Vec<Recipient> {
    let channels = contact.channels.iter();
    let recipients = channels.map(|(channel, address)| Recipient {
        channel: channel.clone(),
        contact: Some(contact.name.clone()),
        address: Some(address.clone()).filter(|address| !address.is_empty()),
    });
    recipients.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTATE: &str = r#"
        [alert]
        fallback = ["ops"]
        [[alert.channel]]
        name = "ops"
        exec.command = ["true"]
        [[alert.channel]]
        name = "mail"
        smtp = { server = "localhost", from = "pawang@example.org" }
        [[alert.contact]]
        name = "ayu"
        channels = { mail = "ayu@example.org", ops = "" }
        [[alert.contact]]
        name = "budi"
        channels = { mail = "budi@example.org" }
        [[alert.rota]]
        name = "dba"
        members = ["ayu", "budi"]
        turn = "7 d"
        starts = "2026-01-05 09:00"
        time_zone = "Asia/Jakarta"
        hours = "mon-fri 08:00-17:00"
    "#;

    #[test]
    fn names_lead_to_channels_and_people() {
        let read = |text: &str| {
            let config = pawang_config::parse(text, "pawang.toml").expect("the file is right");
            Setup::compile(&config).expect("so is what it says")
        };
        let (setup, lonely) = (read(ESTATE), read(&ESTATE.replace("\"ops\"]", "]")));
        let check = |setup: &Setup, names: &[&str], at: &str, expected: &[&str], notes: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let found = find(setup, &names, at.parse().expect("a time"));
            let keys: Vec<String> = found.recipients.iter().map(Recipient::key).collect();
            assert_eq!(keys, expected, "{names:?} {at}");
            assert_eq!(found.notes, notes, "{names:?} {at}");
        };
        let (first, second) = ("2026-01-06T03:00:00Z", "2026-01-13T03:00:00Z");
        check(&setup, &["ops"], first, &["ops"], &[]);
        check(&setup, &["ayu"], first, &["mail/ayu", "ops/ayu"], &[]);
        check(
            &setup,
            &["dba", "ayu", "ops"],
            first,
            &["mail/ayu", "ops/ayu", "ops"],
            &[],
        );
        check(&setup, &["dba"], second, &["mail/budi"], &[]);
        let night = "2026-01-13T13:00:00Z";
        let note = "nobody is on duty in rota \"dba\": the fallback was told";
        check(&setup, &["dba"], night, &["ops"], &[note]);
        check(
            &setup,
            &["budi", "dba"],
            night,
            &["mail/budi", "ops"],
            &[note],
        );
        let note = "\"citra\" is no channel, contact or rota: the fallback was told";
        check(&setup, &["citra"], night, &["ops"], &[note]);
        let note = "nobody is on duty in rota \"dba\": there is no fallback";
        check(&lonely, &["dba"], night, &[], &[note]);
        let note = "no channel is configured: nobody is told";
        check(&setup, &[], night, &[], &[note]);
        let recipient = &find(&setup, &["budi".to_owned()], Timestamp::UNIX_EPOCH).recipients[0];
        assert_eq!(recipient.address.as_deref(), Some("budi@example.org"));
    }
}
