//! Signing in and out.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, Response, StatusCode};
use maud::{Markup, html};
use pawang_store::state::{Account, SignIn};
use serde_json::json;

use super::forgery::{self, CSRF_FIELD};
use super::identify::{SESSION_MAX, ends_at};
use super::{Actor, cookie, token};
use crate::layout;
use crate::problem::Problem;
use crate::server::{Call, blocking};

/// Longest name and password that are looked at.
const TEXT_MAX: usize = 1_024;
/// How long the form may stay open.
const FORM_SECONDS: i64 = 3_600;
/// How long a verification waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(10);
/// Said of a wrong name and of a wrong password alike.
const REFUSED: &str = "name or password is wrong";

/// Shows the form.
pub(crate) async fn ask(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    if !signs_in(&call).await? {
        return Ok(redirect("/"));
    }
    Ok(form(&call, StatusCode::OK, None))
}

/// Verifies name and password and begins a session.
pub(crate) async fn sign_in(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    if !signs_in(&call).await? {
        return Ok(redirect("/"));
    }
    if let Err(problem) = check_form(&call) {
        refuse(&call, None, "the form was not ours").await;
        return Ok(form(&call, StatusCode::FORBIDDEN, Some(&problem)));
    }
    let name = call.field("name").unwrap_or_default().to_owned();
    let password = call.field("password").unwrap_or_default();
    let too_long = name.len() > TEXT_MAX || password.len() > TEXT_MAX;
    let name = if too_long { String::new() } else { name };
    let doors = &call.shared.doors;
    if let Some(wait) = doors.wait(&name, call.address, call.now) {
        refuse(&call, None, "too many attempts").await;
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many attempts")
            .with_hint(format!("try again in {} s", wait.as_secs() + 1))
            .retry_after(wait.as_secs() + 1);
        return Ok(form(&call, StatusCode::TOO_MANY_REQUESTS, Some(&problem)));
    }
    // Counted before the verification: attempts at the same time must not all pass.
    doors.refuse(&name, call.address, call.now);
    match verified(&call, name.clone()).await? {
        Ok(account) => {
            doors.admit(&name, call.address);
            begin(&call, account).await
        }
        Err(account) => {
            refuse(&call, account, REFUSED).await;
            let problem = Problem::new(StatusCode::UNAUTHORIZED, REFUSED);
            Ok(form(&call, StatusCode::UNAUTHORIZED, Some(&problem)))
        }
    }
}

/// Ends the session.
pub(crate) async fn sign_out(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    if let Some(Actor::Account { account, sign_in }) = &call.actor {
        let (hash, shared) = (sign_in.token_hash, Arc::clone(&call.shared));
        blocking(move || Ok(shared.site.store.state().remove_sign_in(&hash)?)).await?;
        call.journal("done", &account.name, json!({})).await;
    } else {
        call.journal("done", "", json!({"note": "nobody had signed in"}))
            .await;
    }
    let mut response = redirect("/sign-in");
    let secure = call.shared.site.settings.secure;
    let gone = cookie::write(cookie::SESSION, "", secure, 0);
    response.headers_mut().append(SET_COOKIE, gone);
    Ok(response)
}

async fn signs_in(call: &Call) -> Result<bool, Problem> {
    let shared = Arc::clone(&call.shared);
    blocking(move || shared.signs_in()).await
}

/// The form of a page of another site carries neither our cookie nor its content.
fn check_form(call: &Call) -> Result<(), Problem> {
    forgery::check_origin(&call.headers, &call.uri)?;
    let secure = call.shared.site.settings.secure;
    let expected = cookie::read(&call.headers, cookie::FORM, secure);
    let carried = forgery::carried(&call.headers, &call.form);
    match (expected, carried) {
        (Some(expected), Some(carried)) if token::same(expected, carried) => Ok(()),
        _ => Err(forgery::refused("the form is too old, or cookies are off")),
    }
}

/// Verifies the password; returns the account, or whose password it was not. Takes as long for a name that nobody has.
async fn verified(
    call: &Arc<Call>,
    name: String,
) -> Result<Result<Account, Option<Account>>, Problem> {
    let turn = Arc::clone(&call.shared.hashings).acquire_owned();
    let Ok(Ok(turn)) = tokio::time::timeout(TURN_MAX, turn).await else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many people sign in at the same time",
        )
        .retry_after(TURN_MAX.as_secs()));
    };
    let call = Arc::clone(call);
    blocking(move || {
        let _turn = turn;
        let account = call.shared.site.store.state().account(&name)?;
        let password = call.field("password").unwrap_or_default();
        let password = password.get(..TEXT_MAX).unwrap_or(password).as_bytes();
        let right = match &account {
            Some(account) => is_password(password, &account.password_hash),
            None => {
                // The same work as verifying.
                let _as_long = Argon2::default().hash_password(password);
                false
            }
        };
        Ok(match (right, account) {
            (true, Some(account)) => Ok(account),
            (_, account) => Err(account),
        })
    })
    .await
}

fn is_password(password: &[u8], hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        tracing::error!("the password hash of an account cannot be read");
        return false;
    };
    Argon2::default().verify_password(password, &hash).is_ok()
}

async fn begin(call: &Arc<Call>, account: Account) -> Result<Response<Body>, Problem> {
    let secret = token::random();
    let sign_in = SignIn {
        token_hash: token::hash(&secret),
        account: account.name.clone(),
        csrf: token::random(),
        created_at: call.now,
        expires_at: ends_at(call.now, call.now),
    };
    let shared = Arc::clone(&call.shared);
    blocking(move || Ok(shared.site.store.state().put_sign_in(&sign_in)?)).await?;
    call.journal_as(
        &format!("account:{}", account.name),
        "done",
        &account.name,
        json!({"address": call.address.to_string()}),
    )
    .await;
    let mut response = redirect(&next(call));
    let secure = call.shared.site.settings.secure;
    let seconds = SESSION_MAX.as_secs().cast_signed();
    let headers = response.headers_mut();
    headers.append(
        SET_COOKIE,
        cookie::write(cookie::SESSION, &secret, secure, seconds),
    );
    headers.append(SET_COOKIE, cookie::write(cookie::FORM, "", secure, 0));
    Ok(response)
}

/// Writes a refusal into the journal; never the name of an account that does not exist, which may be a password that
/// was typed into the wrong field.
async fn refuse(call: &Call, account: Option<Account>, why: &str) {
    let object = account.map(|account| account.name).unwrap_or_default();
    call.journal_refusal(&object, why).await;
}

fn form(call: &Call, status: StatusCode, problem: Option<&Problem>) -> Response<Body> {
    let secret = token::random();
    let page = layout::plain("Sign in", &fields(call, &secret, problem)).into_string();
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    if let Some(seconds) = problem.and_then(|problem| problem.retry_after) {
        headers.insert(axum::http::header::RETRY_AFTER, seconds.into());
    }
    let secure = call.shared.site.settings.secure;
    headers.append(
        SET_COOKIE,
        cookie::write(cookie::FORM, &secret, secure, FORM_SECONDS),
    );
    response
}

fn fields(call: &Call, secret: &str, problem: Option<&Problem>) -> Markup {
    html! {
        form method="post" action="/sign-in" class="sign-in" {
            @if let Some(problem) = problem {
                p class="refused" role="alert" {
                    (problem.report.primary)
                    @if let Some(hint) = &problem.report.hint { "; " (hint) }
                }
            }
            input type="hidden" name=(CSRF_FIELD) value=(secret);
            input type="hidden" name="next" value=(next(call));
            label { "Name " input name="name" autocomplete="username" required autofocus; }
            label { "Password " input type="password" name="password" autocomplete="current-password" required; }
            button class="primary" type="submit" { "Sign in" }
        }
        p class="muted" { "No account yet? Somebody at the server runs:" }
        pre { code { "pawang account create NAME" } }
    }
}

/// Returns where to go after signing in: a path of ours and nothing else.
fn next(call: &Call) -> String {
    let asked = call.field("next").or_else(|| call.parameter("next"));
    asked
        .filter(|path| own_path(path))
        .unwrap_or("/")
        .to_owned()
}

/// Says whether an address is a path of ours.
pub(crate) fn own_path(path: &str) -> bool {
    let elsewhere = path.starts_with("//") || path.contains('\\') || path.len() > 2 * TEXT_MAX;
    path.starts_with('/') && !elsewhere && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Sends a browser to a path of ours, by GET.
pub(crate) fn redirect(path: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_stays_here() {
        for (path, own) in [
            ("/", true),
            ("/instances/dwh-1?range=6h", true),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("", false),
            ("/a\r\nSet-Cookie: b", false),
        ] {
            assert_eq!(own_path(path), own, "{path:?}");
        }
    }

    #[test]
    fn passwords_are_verified() {
        let hash = Argon2::default()
            .hash_password(b"secret")
            .unwrap()
            .to_string();
        assert!(is_password(b"secret", &hash));
        assert!(!is_password(b"Secret", &hash));
        assert!(!is_password(b"", "$argon2id$broken"));
    }
}
