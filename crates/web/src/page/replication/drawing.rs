//! Draws the cluster: sources left, followers right, one line per follower.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::graph::{Edge, Graph, Kind, Node};
use crate::page::Visit;
use crate::page::parts::one_line;

/// Width and height of a box, and the room between boxes.
const BOX: (usize, usize) = (216, 46);
const GAP: (usize, usize) = (150, 14);
const MARGIN: usize = 4;
/// Characters that fit into a box.
const NAME_CHARS: usize = 26;
const DETAIL_CHARS: usize = 38;
const LABEL_CHARS: usize = 26;

/// Where each node stands, in columns and rows.
fn places(graph: &Graph) -> Vec<(usize, usize)> {
    let mut places = vec![(0, 0); graph.nodes.len()];
    let mut placed = BTreeSet::new();
    let mut row = 0;
    let fed = |node: usize| graph.edges.iter().any(|edge| edge.to == node);
    let sources = (0..graph.nodes.len()).filter(|node| !fed(*node));
    // Whoever is left after the sources follows in a circle: any of them may begin.
    for root in sources.chain(0..graph.nodes.len()) {
        let mut open = vec![(root, 0)];
        while let Some((node, column)) = open.pop() {
            if !placed.insert(node) {
                continue;
            }
            let followers = || graph.edges.iter().filter(|edge| edge.from == node);
            places[node] = (column, row);
            let mut later: Vec<(usize, usize)> = followers()
                .map(|edge| (edge.to, column + 1))
                .filter(|(to, _)| !placed.contains(to))
                .collect();
            if later.is_empty() {
                row += 1;
            }
            later.reverse();
            open.extend(later);
        }
    }
    places
}

/// Draws it; `href` gives the address of an instance's page.
pub(super) fn draw(visit: &Visit<'_>, graph: &Graph, href: impl Fn(&str) -> String) -> Markup {
    let places = places(graph);
    let columns = places
        .iter()
        .map(|place| place.0)
        .max()
        .map_or(1, |most| most + 1);
    let rows = places
        .iter()
        .map(|place| place.1)
        .max()
        .map_or(1, |most| most + 1);
    let width = columns * BOX.0 + (columns - 1) * GAP.0 + 2 * MARGIN;
    let height = rows * BOX.1 + (rows - 1) * GAP.1 + 2 * MARGIN;
    let at = |node: usize| {
        let (column, row) = places[node];
        (
            MARGIN + column * (BOX.0 + GAP.0),
            MARGIN + row * (BOX.1 + GAP.1),
        )
    };
    html! {
        div .wide {
            svg .topology width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img" aria-label="Replication topology" {
                @for edge in &graph.edges { (line(edge, at(edge.from), at(edge.to))) }
                @for (index, node) in graph.nodes.iter().enumerate() {
                    @match &node.instance {
                        Some(instance) if !node.here => a href=(visit.link(&href(instance))) { (shape(node, at(index))) },
                        _ => (shape(node, at(index))),
                    }
                }
            }
        }
        @if graph.edges.is_empty() { p .muted { "Nobody follows it, and it follows nobody." } }
        @if graph.more > 0 { p .muted { (graph.more) " more are not drawn." } }
    }
}

fn line(edge: &Edge, from: (usize, usize), to: (usize, usize)) -> Markup {
    let middle = BOX.1 / 2;
    let (x1, y1) = (from.0 + BOX.0, from.1 + middle);
    let (x2, y2) = (to.0, to.1 + middle);
    let bend = GAP.0 / 4;
    // Forward along columns; a circle comes back below.
    let path = format!(
        "M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}",
        x1 + bend,
        x2.saturating_sub(bend)
    );
    html! {
        path .edge.still[!edge.flows] d=(path) {}
        circle .arrow cx=(x2) cy=(y2) r="3" {}
        @if !edge.label.is_empty() {
            text .label x=(x2.saturating_sub(10)) y=(y2.saturating_sub(6)) { (one_line(&edge.label, LABEL_CHARS)) }
        }
    }
}

fn shape(node: &Node, (x, y): (usize, usize)) -> Markup {
    let class = match node.kind {
        Kind::Primary => "primary",
        Kind::Standby => "standby",
        Kind::Silent => "silent",
        Kind::Stranger => "stranger",
        Kind::Slot => "slot",
    };
    let detail = if node.detail.is_empty() {
        match node.kind {
            Kind::Primary => "primary",
            Kind::Standby => "standby",
            Kind::Silent => "does not answer",
            Kind::Stranger | Kind::Slot => "",
        }
    } else {
        &node.detail
    };
    html! {
        g .node.(class).here[node.here] {
            title { (node.name) ": " (detail) }
            rect x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="6" {}
            text .name x=(x + 10) y=(y + 19) { (one_line(&node.name, NAME_CHARS)) }
            text .detail x=(x + 10) y=(y + 36) { (one_line(detail, DETAIL_CHARS)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, edges: &[(usize, usize)]) -> Graph {
        let node = Node {
            name: "n".to_owned(),
            detail: String::new(),
            kind: Kind::Stranger,
            instance: None,
            here: false,
        };
        let edge = |(from, to): &(usize, usize)| Edge {
            from: *from,
            to: *to,
            flows: true,
            label: String::new(),
        };
        Graph {
            nodes: vec![node; nodes],
            edges: edges.iter().map(edge).collect(),
            more: 0,
        }
    }

    #[test]
    fn followers_stand_right_of_their_source_each_in_a_line_of_its_own() {
        for (nodes, edges, expected) in [
            (1, &[][..], vec![(0, 0)]),
            (3, &[(0, 1), (0, 2)], vec![(0, 0), (1, 0), (1, 1)]),
            (
                4,
                &[(0, 1), (1, 2), (0, 3)],
                vec![(0, 0), (1, 0), (2, 0), (1, 1)],
            ),
            (2, &[(1, 0)], vec![(1, 0), (0, 0)]),
            (2, &[(0, 1), (1, 0)], vec![(0, 0), (1, 0)]),
            (3, &[(2, 2)], vec![(0, 0), (0, 1), (0, 2)]),
        ] {
            assert_eq!(places(&graph(nodes, edges)), expected, "{edges:?}");
        }
    }
}
