//! The hash that names a shape: 64 bits that are the same in every run, on every machine and in every version.
//!
//! The text is read as 64-bit words, least significant byte first, the last one filled up with zeros. With `A` = `9e3779b97f4a7c15`,
//! `B` = `e7037ed1a0b428db` and `fold(x)` the exclusive or of the two halves of a 128-bit product, the state begins as `A xor length`;
//! for each word it becomes `fold((state xor word) * B)`, plus the word; in the end the result is `fold((state xor A) * (length or B))`.
//! `docs/reference/statement-shapes.md` has the same words and test vectors.

const A: u64 = 0x9e37_79b9_7f4a_7c15;
const B: u64 = 0xe703_7ed1_a0b4_28db;

/// Returns the hash of a normalised statement.
pub fn fingerprint(normalised: &str) -> u64 {
    let bytes = normalised.as_bytes();
    let length = bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = A ^ length;
    for word in words {
        state = step(state, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = step(state, u64::from_le_bytes(word));
    }
    fold(state ^ A, length | B)
}

#[inline]
fn step(state: u64, word: u64) -> u64 {
    fold(state ^ word, B).wrapping_add(word)
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        for (text, expected) in [
            ("", 0_u64),
            ("select ?", 0x89a29971661bae4f),
            ("select * from t where id = ?", 0xec094bebdaab4eab),
            (
                "insert into t(a, b) values (?, ?) on conflict do nothing",
                0x5d598d6a6ee254b8,
            ),
        ] {
            assert_eq!(
                format!("{:016x}", fingerprint(text)),
                format!("{expected:016x}"),
                "{text}"
            );
        }
    }
}
