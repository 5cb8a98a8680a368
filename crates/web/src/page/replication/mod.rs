//! Replication: who follows whom, how far behind in bytes and time, and what slots keep back.

mod drawing;
mod flow;
mod graph;
mod slots;
mod standby;

use maud::html;

use super::parts::{instance_path, known_at, shell};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let mut members = vec![graph::member(&present)];
    for other in visit.site.live.instances() {
        if other.instance.name != name {
            members.push(graph::member(&other));
        }
    }
    let graph = graph::graph(&members);
    let body = html! {
        section #topology {
            h2 { "Who follows whom" }
            (drawing::draw(visit, &graph, |instance| instance_path(instance, "replication")))
        }
        (standby::section(visit, name, &present)?)
        (flow::section(visit, name, &present)?)
        (slots::section(visit, name, &present)?)
        (words::command(&format!("pawang check replication -i {}", shell(name))))
    };
    Ok(Page {
        title: "Replication".to_owned(),
        place: Place::Replication,
        instance: Some(name.to_owned()),
        body,
        seen_at: known_at(&present),
    })
}
