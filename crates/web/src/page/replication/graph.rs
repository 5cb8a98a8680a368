//! The cluster as a graph: instances of the estate with the same system identifier, and whoever else is connected.

use std::collections::BTreeSet;

use pawang_core::Role;
use pawang_store::live::Present;

use crate::page::parts::lines;

/// Nodes that are drawn; the rest is counted.
const NODES_MAX: usize = 60;

/// What one instance of the estate says about replication.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Member {
    /// The instance.
    pub name: String,
    /// The cluster that it belongs to; `None` when it did not answer.
    pub system_identifier: Option<u64>,
    /// Whether it replays; `None` when it did not answer.
    pub standby: Option<bool>,
    /// `cluster_name`, which standbys send as their application name unless told otherwise.
    pub cluster_name: String,
    /// The slot that it receives from.
    pub receives_by: String,
    /// Host and port that it receives from.
    pub receives_from: String,
    /// Those that receive from it.
    pub senders: Vec<Sender>,
    /// Its slots that nobody receives from, and its logical ones.
    pub slots: Vec<Slot>,
}

/// One WAL sender.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sender {
    /// What the receiver calls itself.
    pub application_name: String,
    /// Its address; empty for local sockets.
    pub client: String,
    /// The slot that it uses.
    pub slot: String,
    /// `streaming`, `catchup`, ...
    pub state: String,
    /// `sync`, `async`, ...
    pub sync_state: String,
    /// WAL that it has not replayed.
    pub behind_bytes: Option<f64>,
    /// Time that it is behind.
    pub behind_seconds: Option<f64>,
}

/// One slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slot {
    /// Its name.
    pub name: String,
    /// Whether it is logical.
    pub logical: bool,
    /// Whether somebody receives from it.
    pub active: bool,
    /// WAL that it keeps back.
    pub retained_bytes: Option<f64>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It accepts writes.
    Primary,
    /// It replays.
    Standby,
    /// It belongs to the estate and did not answer.
    Silent,
    /// It is connected and not of the estate.
    Stranger,
    /// A slot without a standby.
    Slot,
}

/// One box of the drawing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Its name.
    pub name: String,
    /// What is written below it.
    pub detail: String,
    /// What it is.
    pub kind: Kind,
    /// The instance that it leads to.
    pub instance: Option<String>,
    /// Whether the page is about it.
    pub here: bool,
}

/// WAL flows from one node to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edge {
    /// Where it comes from.
    pub from: usize,
    /// Where it goes to.
    pub to: usize,
    /// Whether it flows right now.
    pub flows: bool,
    /// How far behind, for people.
    pub label: String,
}

/// The cluster of one instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Graph {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All edges.
    pub edges: Vec<Edge>,
    /// Nodes that were left out.
    pub more: usize,
}

/// Returns what an instance says about replication.
pub(super) fn member(present: &Present) -> Member {
    let facts = &present.facts;
    let server = facts.server.as_ref().ok();
    let first = |collector: &str| {
        lines(facts, collector)
            .ok()
            .and_then(|l| l.first().copied())
    };
    let receiver = first("wal-receiver");
    let text = |column: &str| receiver.map_or(String::new(), |line| line.word(column).to_owned());
    let from = match receiver.and_then(|line| line.int("sender_port")) {
        Some(port) => format!("{}:{port}", text("sender_host")),
        None => text("sender_host"),
    };
    Member {
        name: present.instance.name.clone(),
        system_identifier: server.map(|server| server.epoch.system_identifier),
        standby: server.map(|server| server.role == Role::Standby),
        cluster_name: first("server").map_or(String::new(), |l| l.word("cluster_name").to_owned()),
        receives_by: text("slot_name"),
        receives_from: from,
        senders: lines(facts, "replication")
            .unwrap_or_default()
            .iter()
            .map(|line| Sender {
                application_name: line.word("application_name").to_owned(),
                client: line.word("client_addr").to_owned(),
                slot: line.word("slot_name").to_owned(),
                state: line.word("state").to_owned(),
                sync_state: line.word("sync_state").to_owned(),
                behind_bytes: difference(line.number("current_lsn"), line.number("replay_lsn")),
                behind_seconds: line.number("replay_lag"),
            })
            .collect(),
        slots: lines(facts, "slots")
            .unwrap_or_default()
            .iter()
            .map(|line| Slot {
                name: line.word("slot_name").to_owned(),
                logical: line.word("slot_type") == "logical",
                active: line.flag("active") == Some(true),
                retained_bytes: difference(line.number("current_lsn"), line.number("restart_lsn")),
            })
            .collect(),
    }
}

/// Returns how far one position is behind another; never negative, positions are read one after the other.
pub(super) fn difference(ahead: Option<f64>, behind: Option<f64>) -> Option<f64> {
    Some((ahead? - behind?).max(0.0))
}

/// Returns the cluster of the first member.
pub(super) fn graph(members: &[Member]) -> Graph {
    let Some(first) = members.first() else {
        return Graph::default();
    };
    let mut own: Vec<&Member> = members
        .iter()
        .filter(|m| m.system_identifier.is_some() && m.system_identifier == first.system_identifier)
        .collect();
    if own.is_empty() {
        own.push(first);
    }
    let mut graph = Graph::default();
    for member in own.iter().take(NODES_MAX) {
        graph.nodes.push(Node {
            name: member.name.clone(),
            detail: String::new(),
            kind: match member.standby {
                Some(true) => Kind::Standby,
                Some(false) => Kind::Primary,
                None => Kind::Silent,
            },
            instance: Some(member.name.clone()),
            here: member.name == first.name,
        });
    }
    graph.more = own.len().saturating_sub(NODES_MAX);
    own.truncate(NODES_MAX);
    connect(&own, &mut graph);
    upstream(&own, &mut graph);
    graph.only_related();
    graph
}

fn connect(own: &[&Member], graph: &mut Graph) {
    let mut followed: BTreeSet<usize> = BTreeSet::new();
    for (from, member) in own.iter().enumerate() {
        for sender in &member.senders {
            let to = own.iter().enumerate().position(|(to, other)| {
                to != from && !followed.contains(&to) && is_receiver(other, sender)
            });
            let to = match to {
                Some(to) => {
                    followed.insert(to);
                    Some(to)
                }
                None => graph.add(stranger(sender)),
            };
            let Some(to) = to else { continue };
            graph.edges.push(Edge {
                from,
                to,
                flows: sender.state == "streaming",
                label: label(sender),
            });
        }
        let used = |slot: &&Slot| !member.senders.iter().any(|sender| sender.slot == slot.name);
        for slot in member.slots.iter().filter(used) {
            // What a standby of the estate uses while it is away is shown with the standby by its slots table.
            if let Some(to) = graph.add(unused(slot)) {
                graph.edges.push(Edge {
                    from,
                    to,
                    flows: slot.active,
                    label: String::new(),
                });
            }
        }
    }
}

/// Draws whoever a standby receives from when the estate does not know it.
fn upstream(own: &[&Member], graph: &mut Graph) {
    for (to, member) in own.iter().enumerate() {
        let alone = !graph.edges.iter().any(|edge| edge.to == to);
        if alone && !member.receives_from.is_empty() {
            let node = Node {
                name: member.receives_from.clone(),
                detail: "not in pawang.toml, or it did not answer".to_owned(),
                kind: Kind::Stranger,
                instance: None,
                here: false,
            };
            if let Some(from) = graph.add(node) {
                graph.edges.push(Edge {
                    from,
                    to,
                    flows: true,
                    label: String::new(),
                });
            }
        }
    }
}

impl Graph {
    /// Leaves out other primaries, such as a clone that was promoted, with their followers: a system identifier tells
    /// only that two clusters began as one. A standby that follows nobody stays: that is worth seeing.
    fn only_related(&mut self) {
        let mut related = BTreeSet::from([0]);
        let mut open = vec![0];
        while let Some(node) = open.pop() {
            for edge in &self.edges {
                for (one, other) in [(edge.from, edge.to), (edge.to, edge.from)] {
                    if one == node && related.insert(other) {
                        open.push(other);
                    }
                }
            }
        }
        let followed = |node: usize| self.edges.iter().any(|edge| edge.to == node);
        let lost = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].kind == Kind::Standby && !followed(*node));
        related.extend(lost);
        let places: Vec<usize> = related.into_iter().collect();
        let place = |node: usize| places.iter().position(|place| *place == node);
        self.edges
            .retain_mut(|edge| match (place(edge.from), place(edge.to)) {
                (Some(from), Some(to)) => {
                    (edge.from, edge.to) = (from, to);
                    true
                }
                _ => false,
            });
        self.nodes = places
            .iter()
            .map(|place| self.nodes[*place].clone())
            .collect();
    }

    fn add(&mut self, node: Node) -> Option<usize> {
        if self.nodes.len() == NODES_MAX {
            self.more += 1;
            return None;
        }
        self.nodes.push(node);
        Some(self.nodes.len() - 1)
    }
}

/// Says whether an instance is at the other end: by its slot, else by what it calls itself.
fn is_receiver(member: &Member, sender: &Sender) -> bool {
    if member.standby != Some(true) {
        return false;
    }
    if !sender.slot.is_empty() && !member.receives_by.is_empty() {
        return sender.slot == member.receives_by;
    }
    let name = sender.application_name.as_str();
    !name.is_empty() && (name == member.name || name == member.cluster_name)
}

fn stranger(sender: &Sender) -> Node {
    let name = if sender.application_name.is_empty() {
        sender.client.clone()
    } else {
        sender.application_name.clone()
    };
    Node {
        name,
        detail: if sender.client.is_empty() {
            "local socket".to_owned()
        } else {
            sender.client.clone()
        },
        kind: Kind::Stranger,
        instance: None,
        here: false,
    }
}

fn unused(slot: &Slot) -> Node {
    let kind = if slot.logical { "logical slot" } else { "slot" };
    let state = if slot.active { "" } else { ", nobody receives" };
    let kept = slot.retained_bytes.map_or(String::new(), |bytes| {
        format!(", keeps {}", crate::words::bytes(bytes))
    });
    Node {
        name: slot.name.clone(),
        detail: format!("{kind}{state}{kept}"),
        kind: Kind::Slot,
        instance: None,
        here: false,
    }
}

fn label(sender: &Sender) -> String {
    let mut parts = Vec::new();
    if sender.state != "streaming" {
        parts.push(sender.state.clone());
    }
    if !sender.sync_state.is_empty() {
        parts.push(sender.sync_state.clone());
    }
    if let Some(bytes) = sender.behind_bytes {
        parts.push(crate::words::bytes(bytes));
    }
    if let Some(seconds) = sender.behind_seconds {
        parts.push(crate::words::duration(seconds));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, standby: bool) -> Member {
        Member {
            name: name.to_owned(),
            system_identifier: Some(7),
            standby: Some(standby),
            ..Member::default()
        }
    }

    fn sender(application_name: &str, slot: &str) -> Sender {
        Sender {
            application_name: application_name.to_owned(),
            slot: slot.to_owned(),
            state: "streaming".to_owned(),
            ..Sender::default()
        }
    }

    fn edges(members: &[Member]) -> Vec<String> {
        let graph = graph(members);
        let name = |index: usize| graph.nodes[index].name.as_str();
        let edges = graph.edges.iter();
        edges
            .map(|e| format!("{}>{}", name(e.from), name(e.to)))
            .collect()
    }

    #[test]
    fn standbys_are_known_by_slot_then_by_name() {
        let mut primary = member("a", false);
        primary.senders = vec![
            sender("walreceiver", "s_b"),
            sender("c", ""),
            sender("x", ""),
        ];
        let mut by_slot = member("b", true);
        by_slot.receives_by = "s_b".to_owned();
        let mut by_cluster_name = member("third", true);
        by_cluster_name.cluster_name = "c".to_owned();
        let mut other = member("other cluster", false);
        other.system_identifier = Some(8);
        assert_eq!(
            edges(&[primary, by_slot, by_cluster_name, other]),
            ["a>b", "a>third", "a>x"]
        );
    }

    #[test]
    fn a_standby_shows_whom_it_follows_even_when_nobody_knows_that_one() {
        let mut standby = member("b", true);
        standby.receives_from = "10.0.0.1:5432".to_owned();
        standby.slots = vec![Slot {
            name: "old".to_owned(),
            retained_bytes: Some(1024.0),
            ..Slot::default()
        }];
        assert_eq!(edges(&[standby]), ["b>old", "10.0.0.1:5432>b"]);
    }

    #[test]
    fn a_promoted_clone_is_another_cluster_and_a_lost_standby_is_shown() {
        let mut primary = member("a", false);
        primary.senders = vec![sender("b", "")];
        let mut clone = member("clone", false);
        clone.senders = vec![sender("of the clone", "")];
        let members = [primary, member("b", true), clone, member("lost", true)];
        let graph = graph(&members);
        let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "lost"]);
        assert_eq!(edges(&members), ["a>b"]);
    }

    #[test]
    fn a_silent_instance_stands_alone_and_many_are_counted() {
        let silent = Member {
            name: "down".to_owned(),
            ..Member::default()
        };
        let graph_of_one = graph(&[silent.clone(), silent]);
        assert_eq!(
            graph_of_one.nodes.len(),
            1,
            "two silent ones are not one cluster"
        );
        assert_eq!(graph_of_one.nodes[0].kind, Kind::Silent);
        let mut busy = member("a", false);
        busy.senders = (0..100).map(|n| sender(&format!("s{n}"), "")).collect();
        let graph = graph(&[busy]);
        assert_eq!((graph.nodes.len(), graph.more), (NODES_MAX, 41));
        assert_eq!(super::graph(&[]), Graph::default());
    }
}
