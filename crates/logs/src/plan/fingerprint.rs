//! A number that tells one plan of a statement from another: node types, joins, their order, relations and indexes, and nothing else.

use super::node::{Node, Plan, Relationship};

/// Returns the fingerprint of a plan; the same in every run, on every machine, and for each format.
///
/// Costs, rows, constants, aliases, workers and settings are not in it; partitions are.
pub fn fingerprint(plan: &Plan) -> u64 {
    let mut hash = Hash(0xcbf2_9ce4_8422_2325);
    hash.node(&plan.root);
    hash.end()
}

/// FNV-1a, and a last stirring so that all bits depend on all.
struct Hash(u64);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u64::from(*byte);
            self.0 = self.0.wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.bytes(text.unwrap_or_default().as_bytes());
        self.bytes(&[0xff]);
    }

    fn node(&mut self, node: &Node) {
        self.text(Some(&node.kind));
        for text in [
            &node.operation,
            &node.strategy,
            &node.partial,
            &node.command,
            &node.join,
            &node.provider,
            &node.relation,
            &node.index,
        ] {
            self.text(text.as_deref());
        }
        let subplan = matches!(
            node.relationship,
            Relationship::InitPlan | Relationship::SubPlan
        );
        self.bytes(&[
            u8::from(node.parallel),
            u8::from(node.backward),
            u8::from(subplan),
        ]);
        for child in &node.children {
            self.bytes(b"(");
            self.node(child);
            self.bytes(b")");
        }
    }

    fn end(&self) -> u64 {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}
