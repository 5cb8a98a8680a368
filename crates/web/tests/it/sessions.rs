//! Sessions are ended by a plan that is shown first, by somebody who has signed in.

use pawang_store::state::Permission;

use crate::auth::{add_account, closed, signed_in};
use crate::estate::{Estate, settings};
use crate::http::Client;
use crate::pages::busy_estate;

const PLAN: &str = "/instances/dwh-1/activity/plan?do=terminate&session=6743b2f1.1267";
const APPLY: &str = "/instances/dwh-1/activity/apply";

async fn csrf(client: &Client) -> Client {
    let session = client.json("/api/v1/session").await;
    client.with("x-csrf-token", session["csrf"].as_str().unwrap())
}

fn outcomes(estate: &Estate) -> Vec<(String, String)> {
    let page = estate.store.state().journal_page(None, 3).unwrap();
    let entries = page.into_iter().map(|record| record.entry);
    let entries = entries.filter(|entry| entry.action == "session.apply");
    entries.map(|entry| (entry.actor, entry.outcome)).collect()
}

#[tokio::test]
async fn an_operator_sees_the_plan_types_the_name_and_sees_what_came_of_it() {
    let (cluster, mut estate) = busy_estate().await;
    let _client = cluster.connect("postgres").await;
    estate.look().await;
    add_account(&estate, "ann", Permission::Operator);
    add_account(&estate, "vera", Permission::Viewer);
    let served = estate.serve(closed()).await;
    let ann = csrf(&signed_in(&served, "ann").await).await;

    let activity = ann.get("/instances/dwh-1/activity").await.text();
    assert!(
        activity.contains("activity/plan?do=terminate"),
        "{activity}"
    );
    let plan = ann.get(PLAN).await;
    assert_eq!(plan.status, 200, "{}", plan.text());
    for part in [
        "terminate-backend pid 4711",
        "idle in transaction for 9 h",
        "none: the client must reconnect",
        "type the name of the instance",
        "value=\"feed\"",
        "pawang session terminate 6743b2f1.1267 -i dwh-1",
    ] {
        assert!(plan.text().contains(part), "{part}\n{}", plan.text());
    }
    let wrong = ann.post(APPLY, &[("plan", "feed"), ("name", "dwh")]).await;
    assert_eq!(wrong.status, 409, "{}", wrong.text());
    let done = ann
        .post(APPLY, &[("plan", "feed"), ("name", "dwh-1")])
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(
        done.text().contains("2 sessions waited, 0 wait still"),
        "{}",
        done.text()
    );
    let told = |outcome: &str| ("account:ann".to_owned(), outcome.to_owned());
    assert_eq!(outcomes(&estate), [told("done"), told("refused")]);

    let vera = csrf(&signed_in(&served, "vera").await).await;
    let plan = vera.get(PLAN).await.text();
    assert!(plan.contains("needs the permission"), "{plan}");
    assert!(!plan.contains("value=\"feed\""), "{plan}");
    let refused = vera
        .post(APPLY, &[("plan", "feed"), ("name", "dwh-1")])
        .await;
    assert_eq!(refused.status, 403, "{}", refused.text());
}

#[tokio::test]
async fn an_open_dashboard_changes_no_server() {
    let (_cluster, mut estate) = busy_estate().await;
    estate.look().await;
    let served = estate.serve(settings()).await;
    let client = csrf(&Client::new(served.address)).await;
    let plan = client.get(PLAN).await;
    assert_eq!(plan.status, 200);
    assert!(plan.text().contains("changes no server"), "{}", plan.text());
    assert!(
        !plan.text().contains("<button type=\"submit\">Apply"),
        "{}",
        plan.text()
    );
    let refused = client
        .post(APPLY, &[("plan", "feed"), ("name", "dwh-1")])
        .await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(
        outcomes(&estate),
        [("address:127.0.0.1".to_owned(), "refused".to_owned())]
    );
}

#[tokio::test]
async fn programs_get_tree_plan_and_outcome_as_json_under_the_same_rules() {
    let (_cluster, mut estate) = busy_estate().await;
    estate.look().await;
    add_account(&estate, "ann", Permission::Operator);
    add_account(&estate, "vera", Permission::Viewer);
    let served = estate.serve(closed()).await;
    let api = "/api/v1/instances/dwh-1/sessions";
    let ann = csrf(&signed_in(&served, "ann").await).await;
    let tree = ann.json(&format!("{api}/tree")).await;
    assert!(
        tree["branches"].is_array() && tree["at"].is_string(),
        "{tree}"
    );
    let plan = ann
        .json(&format!("{api}/plan?do=terminate&session=1.2"))
        .await;
    assert_eq!(plan["hash"], "feed", "{plan}");
    assert_eq!(plan["production"], true, "{plan}");
    assert_eq!(plan["plan"]["actions"][0]["object"], "pid 4711", "{plan}");
    let apply = format!("{api}/apply");
    let wrong = ann.post(&apply, &[("plan", "feed")]).await;
    assert_eq!(wrong.status, 409, "{}", wrong.text());
    let other = ann.get(&format!("{api}/plan?do=shoot")).await;
    assert_eq!(other.status, 400, "{}", other.text());
    let done = ann
        .post(&apply, &[("plan", "feed"), ("name", "dwh-1")])
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    let outcome: serde_json::Value = serde_json::from_str(&done.text()).unwrap();
    assert_eq!(
        (&outcome["done"], &outcome["waiting"]),
        (&true.into(), &0.into())
    );
    let told = |outcome: &str| ("account:ann".to_owned(), outcome.to_owned());
    assert_eq!(outcomes(&estate), [told("done"), told("refused")]);
    let vera = csrf(&signed_in(&served, "vera").await).await;
    for answer in [
        vera.get(&format!("{api}/plan")).await,
        vera.post(&apply, &[("plan", "feed"), ("name", "dwh-1")])
            .await,
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
}
