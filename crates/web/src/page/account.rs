//! Account: who one is here, what one may do, and how to change that.

use maud::{Markup, html};
use pawang_store::state::{ApiToken, Permission};

use super::{Page, PageError, Place, Visit};
use crate::words;

/// Tokens that are listed.
const TOKENS_MAX: usize = 200;

/// Draws the page.
///
/// # Errors
/// The store does not answer.
pub(crate) fn render(visit: &Visit<'_>) -> Result<Page, PageError> {
    let admin = visit
        .account
        .is_some_and(|account| account.permission == Permission::Admin);
    let tokens = if admin {
        Some(visit.site.store.state().tokens()?)
    } else {
        None
    };
    let body = html! {
        (who(visit))
        @if let Some(tokens) = tokens { (list(visit, &tokens)) }
    };
    Ok(Page {
        title: "Account".to_owned(),
        place: Place::Journal,
        instance: None,
        body,
        seen_at: None,
    })
}

fn who(visit: &Visit<'_>) -> Markup {
    let Some(account) = visit.account else {
        return html! {
            p { "Nobody has to sign in here: the dashboard answers only on this machine." }
            p .muted { "To require it, create an account and set sign_in in pawang.toml:" }
            (words::copyable("pawang account create NAME --permission admin"))
            (words::copyable("[serve]\nsign_in = true"))
        };
    };
    html! {
        dl .figures {
            (super::parts::figure("name", html! { (account.name) }, "the account that is signed in"))
            (super::parts::figure("permission", html! { (word(account.permission)) }, may(account.permission)))
            (super::parts::figure("since", words::ago(visit.now, account.created_at), "when the account was made"))
        }
        p { "You may " (may(account.permission)) "." }
        @if let Some(csrf) = visit.csrf {
            form method="post" action="/sign-out" {
                input type="hidden" name="csrf" value=(csrf);
                button type="submit" { "Sign out" }
            }
        }
        h2 { "Change the password" }
        p .muted { "On the machine that runs the daemon; it asks for the new password." }
        (words::copyable(&format!("pawang account create {} --permission {}", super::parts::shell(&account.name), word(account.permission))))
    }
}

fn list(visit: &Visit<'_>, tokens: &[ApiToken]) -> Markup {
    html! {
        section #tokens {
            h2 { "API tokens" }
            @if tokens.is_empty() { (words::empty("No program has a token.", Some("pawang token create NAME --permission viewer --expires 90d"))) }
            @else {
                div .wide { table {
                    thead { tr { th scope="col" { "Name" } th scope="col" { "Permission" } th scope="col" { "Made" } th scope="col" { "Ends" } } }
                    tbody { @for token in tokens.iter().take(TOKENS_MAX) { tr {
                        td { (token.name) } td { (word(token.permission)) }
                        td { (words::ago(visit.now, token.created_at)) }
                        td { @match token.expires_at {
                            None => "never",
                            Some(at) if at <= visit.now => { span .pill.warning { "ended" } },
                            Some(at) => (words::moment(visit.now, at)),
                        } }
                    } } }
                } }
                p .muted { "A token is shown once, when it is made; only its hash is kept." }
                (words::command("pawang token remove NAME"))
            }
        }
    }
}

fn word(permission: Permission) -> &'static str {
    match permission {
        Permission::Viewer => "viewer",
        Permission::Operator => "operator",
        Permission::Admin => "admin",
    }
}

fn may(permission: Permission) -> &'static str {
    match permission {
        Permission::Viewer => "look at everything",
        Permission::Operator => "look at everything and act on instances",
        Permission::Admin => {
            "look at everything, act on instances, and change accounts and configuration"
        }
    }
}
