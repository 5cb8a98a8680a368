//! Secrets: made by the operating system, compared by hash, kept by hash only.

use sha2::{Digest, Sha256};

/// Bytes of every secret: 256 bits, which nobody guesses.
const BYTES: usize = 32;

/// Returns a new secret in hexadecimal.
pub(crate) fn random() -> String {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns what is kept of a secret.
pub(crate) fn hash(secret: &str) -> [u8; BYTES] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Compares secrets without telling by the time it takes where they differ.
pub(crate) fn same(one: &str, other: &str) -> bool {
    hash(one) == hash(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_differ() {
        let (one, other) = (random(), random());
        assert_eq!(one.len(), 2 * BYTES);
        assert!(!same(&one, &other) && same(&one, &one.clone()));
    }
}
